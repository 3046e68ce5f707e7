//! Scenarios: what users rely on, each through the public door.
#![allow(missing_docs)]

mod alone;
mod attempts;
mod bounds;
mod cluster;
mod dead_letters;
mod emit;
mod faults;
mod idempotency;
mod intake;
mod layers;
mod link;
mod metrics;
mod near_and_far;
mod overload;
mod qos0;
mod reliable;
mod requests;
mod restarts;
mod shutdown;
mod stalls;
mod store;
mod wiring;
