//! What tests and demos need beside the code: servers that are started, and processes that never outlive us.
//!
//! It depends on the standard library alone, so that every package can name it among its `dev-dependencies`.

pub mod shell;

pub mod http;
pub mod ports;
pub mod process;
pub mod usage;

pub mod nats;

pub mod generated;
