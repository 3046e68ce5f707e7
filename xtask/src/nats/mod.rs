//! A real nats-server for tests and demos: found or installed, started, paused, killed and started again.
//!
//! Everything here blocks the thread: milliseconds for most, up to some seconds for a start.

mod install;
mod version;

mod config;

mod cluster;
mod server;

pub use cluster::Cluster;
pub use install::{VERSION, find};
pub use server::{Server, ServerOptions};
