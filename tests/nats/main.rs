//! The transport over NATS, on a real server.

mod basics;
mod faults;
mod support;
