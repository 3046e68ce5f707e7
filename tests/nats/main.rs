//! The transport over NATS, on a real server.

mod basics;
