//! How long a task that takes messages in polls handlers itself, before the rest of its round goes into tasks.
//!
//! A handler that computes for long holds up everything behind it in the same queue: so by one run a round, and not by all.

use std::time::{Duration, Instant};

use tokio::task::yield_now;

use crate::middleware::gate::Gate;

/// How long handlers may be polled in a round. On the clock of the machine: it bounds work, not waiting.
const QUICK: Duration = Duration::from_millis(1);

/// How long a task gives a handler whose places are taken, and how long it gives none when that did not help.
const PATIENCE: Duration = Duration::from_millis(1);
const IMPATIENCE: Duration = Duration::from_millis(100);

/// What a task has taken in at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round(Instant);

impl Round {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Whether there is time to poll another handler in place.
    pub(super) fn is_quick(self) -> bool {
        self.0.elapsed() < QUICK
    }

    /// Lets what went into tasks run before more is taken in. Until it has, it holds the places at the gates of its
    /// handlers: everything behind it would go into tasks, too, and queue there for as long as messages keep coming.
    pub(super) async fn end(self) {
        if !self.is_quick() {
            yield_now().await;
        }
    }
}

/// Sees that quick handlers are polled in place again after an interruption.
///
/// Whoever waits for a place takes it before all that comes later, and a task for a message costs several times what a quick
/// handler does. If a node is interrupted once while it is busy, and what queued meanwhile is not let through, it stays
/// as slow for as long as it is busy.
#[derive(Default)]
pub(super) struct Recovery {
    /// The gate of a handler that had no place for a message of this round.
    full: Option<Gate>,
    /// Those for which waiting did not help, and from when on they are waited for again.
    slow: Vec<(Gate, Instant)>,
}

impl Recovery {
    /// Takes note of a handler that had no place.
    pub(super) fn note(&mut self, handler: &Gate) {
        if !self.slow.iter().any(|(slow, _)| slow.is(handler)) {
            self.full = Some(handler.clone());
        }
    }

    /// Ends a round: gives a handler that had no place a moment to let those through who wait. One that is slow has only one
    /// such moment now and then.
    pub(super) async fn end(&mut self, round: Round) {
        round.end().await;
        if !self.slow.is_empty() {
            let now = Instant::now();
            self.slow.retain(|(_, again)| now < *again);
        }
        let Some(full) = self.full.take() else { return };
        let began = Instant::now();
        while full.is_full() {
            if began.elapsed() >= PATIENCE {
                return self.slow.push((full, Instant::now() + IMPATIENCE));
            }
            yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::middleware::gate::Entry;

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

    #[tokio::test]
    async fn who_waits_for_a_quick_handler_is_let_through_and_a_slow_one_holds_nobody_up_for_long() {
        let (gate, turnstile) = Gate::new(1, 8);
        tokio::spawn(turnstile.run(CancellationToken::new()));
        let quick = Round(Instant::now() + QUICK * 1_000);
        let (Entry::Now(pass), Entry::Wait(turn)) = (gate.enter(), gate.enter()) else { unreachable!("one place") };
        let running = pass.keep();
        tokio::spawn(async move { drop(running) });
        tokio::spawn(async move { drop(turn.await) });
        let mut recovery = Recovery::default();
        recovery.note(&gate);
        recovery.end(quick).await;
        assert!(matches!(gate.enter(), Entry::Now(_)));

        let slow = gate.enter();
        recovery.note(&gate);
        recovery.end(quick).await;
        recovery.note(&gate);
        assert!(recovery.end(quick).now_or_never().is_some());
        // One that is slow keeps nobody else from being waited for.
        let (other, _turnstile) = Gate::new(1, 8);
        let busy = other.enter();
        recovery.note(&other);
        assert!(recovery.end(quick).now_or_never().is_none());
        drop((slow, busy));
    }
}
