//! The transport over [NATS](https://docs.nats.io): core messages for requests and events of QoS 0, JetStream for reliable
//! events.
#![expect(dead_code, reason = "under construction")]

pub(crate) mod cloud_event;
mod connection;
#[cfg(test)]
mod document;
#[cfg(test)]
mod fuzz;
mod headers;
mod names;
mod options;
pub(crate) mod wire;
