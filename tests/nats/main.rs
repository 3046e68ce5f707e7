//! The transport over NATS, on a real server.

mod basics;
mod faults;
mod options;
mod security;
mod support;
