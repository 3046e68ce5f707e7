//! How long a task that takes messages in polls handlers itself, before the rest of its round goes into tasks.
//!
//! A handler that computes for long holds up everything behind it in the same queue: so by one run a round, and not by all.

use std::time::{Duration, Instant};

/// How long handlers may be polled in a round. On the clock of the machine: it bounds work, not waiting.
const QUICK: Duration = Duration::from_millis(1);

/// What a task has taken in at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round(Instant);

impl Round {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Whether there is time to poll another handler in place.
    pub(crate) fn is_quick(self) -> bool {
        self.0.elapsed() < QUICK
    }
}
