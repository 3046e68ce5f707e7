//! The transport over NATS, on a real server.

mod basics;
mod faults;
mod foreign;
mod options;
mod others;
mod permissions;
mod readiness;
mod security;
mod soak;
mod strangers;
mod support;
mod versions;
