//! Real servers start, obey, survive, and never stay behind. They are installed at the first run.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod cluster;
mod life;
mod orphans;
mod protocol;
