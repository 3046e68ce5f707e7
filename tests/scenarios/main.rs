//! Scenarios: what users rely on, each through the public door.
#![allow(missing_docs)]

mod attempts;
mod cluster;
mod dead_letters;
mod emit;
mod idempotency;
mod layers;
mod overload;
mod qos0;
mod reliable;
mod requests;
mod shutdown;
mod wiring;
