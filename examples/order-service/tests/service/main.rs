//! Starts the real program on free ports and checks every promise of the order service over HTTP, its lines and its exit
//! code.
#![expect(unreachable_pub, reason = "a test has no outside")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod client;
mod service;

mod bad_input;
mod failover;
mod health;
mod idempotency;
mod nats;
mod orders;
mod process;
