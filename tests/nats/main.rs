//! The transport over NATS, on a real server.

mod basics;
mod faults;
mod foreign;
mod support;
