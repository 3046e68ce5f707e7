//! Nodes in processes of their own, on real servers: what they were told is counted against what they did.
//!
//! Every fault is met twice: by events that travel in frames, and by events that travel one at a time.

/// Runs a test with frames of 32 events, and with one event at a time.
macro_rules! in_both_ways {
    ($test:ident) => {
        mod $test {
            #[tokio::test(flavor = "multi_thread")]
            async fn in_frames() {
                super::$test(32).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn one_at_a_time() {
                super::$test(1).await;
            }
        }
    };
}

mod journals;
mod world;

mod kills;

mod clocks;
mod failover;
mod full;
mod network;
mod poison;

mod servers;
