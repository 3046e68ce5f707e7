//! How old a stored message is, without trusting that two clocks agree.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use tokio::time::Instant;

use crate::id::now_millis;

/// What the server's clock shows, as far as it can be known here.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    /// How far this node's time is ahead of the server's, at most: the least that was seen between the time at which the
    /// server stored a message and the time at which it arrived here.
    ahead_ms: Arc<AtomicI64>,
    /// What this machine's clock showed at this moment. It is looked at once: it may be set, and time goes on evenly.
    start: (Instant, i64),
}

impl Clock {
    pub(super) fn new() -> Self {
        let start = (Instant::now(), i64::try_from(now_millis()).unwrap_or(i64::MAX));
        Self { ahead_ms: Arc::new(AtomicI64::new(i64::MAX)), start }
    }

    /// The server's clock showed `server_ms` not later than now.
    pub(super) fn observe(&self, server_ms: i64) {
        self.ahead_ms.fetch_min(self.local_ms() - server_ms, Ordering::Relaxed);
    }

    /// How long ago, in milliseconds, the server's clock showed `server_ms`; rather too little than too much.
    pub(super) fn age(&self, server_ms: i64) -> u64 {
        self.observe(server_ms);
        u64::try_from(self.local_ms() - server_ms - self.ahead_ms.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// What the server's clock shows now, or a little less.
    pub(super) fn server_ms(&self) -> i64 {
        match self.ahead_ms.load(Ordering::Relaxed) {
            i64::MAX => self.local_ms(),
            ahead => self.local_ms() - ahead,
        }
    }

    fn local_ms(&self) -> i64 {
        let (start, shown) = self.start;
        shown.saturating_add(i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_wrong_makes_no_message_older_than_it_is() {
        let (clock, now) = (Clock::new(), i64::try_from(now_millis()).unwrap());
        // This machine is five seconds ahead.
        clock.observe(now - 5_000);
        assert!(clock.age(now - 5_000) < 100);
        assert!((1_000..1_100).contains(&clock.age(now - 6_000)));
        // One that is behind: nothing comes from the future.
        let clock = Clock::new();
        clock.observe(now + 7_000);
        assert!(clock.age(now + 7_000) < 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_ages_as_time_passes_and_not_as_this_machines_clock_is_set() {
        let (clock, now) = (Clock::new(), i64::try_from(now_millis()).unwrap());
        clock.observe(now);
        // A minute passes, and the machine's clock does not show it.
        tokio::time::advance(std::time::Duration::from_secs(60)).await;
        assert!((60_000..60_100).contains(&clock.age(now)));
        assert!((now + 60_000..now + 60_100).contains(&clock.server_ms()));
    }
}
