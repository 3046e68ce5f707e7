//! How old a stored message is, without trusting that two clocks agree.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use crate::id::now_millis;

/// How far this machine's clock is ahead of the server's, at most: the least that was seen between the time at which the
/// server stored a message and the time at which it arrived here.
#[derive(Clone, Debug)]
pub(super) struct Clock(Arc<AtomicI64>);

impl Clock {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MAX)))
    }

    /// The server's clock showed `server_ms` not later than now.
    pub(super) fn observe(&self, server_ms: i64) {
        self.0.fetch_min(local() - server_ms, Ordering::Relaxed);
    }

    /// How long ago, in milliseconds, the server's clock showed `server_ms`; rather too little than too much.
    pub(super) fn age(&self, server_ms: i64) -> u64 {
        self.observe(server_ms);
        u64::try_from(local() - server_ms - self.0.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// What the server's clock shows now, or a little less.
    pub(super) fn server_ms(&self) -> i64 {
        match self.0.load(Ordering::Relaxed) {
            i64::MAX => local(),
            ahead => local() - ahead,
        }
    }
}

fn local() -> i64 {
    i64::try_from(now_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_wrong_makes_no_message_older_than_it_is() {
        let clock = Clock::new();
        // This machine is five seconds ahead.
        clock.observe(local() - 5_000);
        assert!(clock.age(local() - 5_000) < 100);
        assert!((1_000..1_100).contains(&clock.age(local() - 6_000)));
        // One that is behind: nothing comes from the future.
        let clock = Clock::new();
        clock.observe(local() + 7_000);
        assert!(clock.age(local() + 7_000) < 100);
    }
}
