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

    /// Lets what went into tasks run before more is taken in. Until it has, it holds the places at the gates of its
    /// handlers: everything behind it would go into tasks, too, and queue there for as long as messages keep coming.
    pub(crate) async fn end(self) {
        if !self.is_quick() {
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_a_long_round_put_into_tasks_runs_before_more_is_taken() {
        let task = tokio::spawn(async {});
        let quick = Round(Instant::now() + QUICK * 1_000);
        assert!(quick.end().now_or_never().is_some());
        assert!(!task.is_finished());
        let long = Round(Instant::now().checked_sub(2 * QUICK).expect("the machine has run for longer"));
        long.end().await;
        assert!(task.is_finished());
    }
}
