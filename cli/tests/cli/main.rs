//! The tool against real servers, as a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod dead;
mod shop;
mod support;
mod tap;
mod usage;
