//! How old a stored message is, without trusting that two clocks agree, or that one goes evenly.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use tokio::time::{Duration, Instant};

use crate::id::now_millis;

/// For how long, at least, and for at most twice as long, it is remembered how far apart the clocks are: one that is set, or
/// goes too fast, must not make messages older for good.
const REMEMBERED: Duration = Duration::from_secs(300);

/// How far this machine's clock is ahead of the server's, at most: the least that was seen lately between the time at which
/// the server stored a message and the time at which it arrived here.
#[derive(Clone, Debug)]
pub(super) struct Clock(Arc<State>);

#[derive(Debug)]
struct State {
    /// This machine's clock is looked at once, and may be set afterwards.
    start: Instant,
    start_ms: i64,
    /// The number of the present span, and the least in it and in the one before.
    span: AtomicU64,
    present: AtomicI64,
    before: AtomicI64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self(Arc::new(State {
            start: Instant::now(),
            start_ms: i64::try_from(now_millis()).unwrap_or(i64::MAX),
            span: AtomicU64::new(0),
            present: AtomicI64::new(i64::MAX),
            before: AtomicI64::new(i64::MAX),
        }))
    }

    /// The server's clock showed `server_ms` not later than now.
    pub(super) fn observe(&self, server_ms: i64) {
        let state = &*self.0;
        let span = state.start.elapsed().as_secs() / REMEMBERED.as_secs();
        let last = state.span.swap(span, Ordering::Relaxed);
        if last != span {
            let present = state.present.swap(i64::MAX, Ordering::Relaxed);
            state.before.store(if last + 1 == span { present } else { i64::MAX }, Ordering::Relaxed);
        }
        state.present.fetch_min(self.local() - server_ms, Ordering::Relaxed);
    }

    /// How long ago, in milliseconds, the server's clock showed `server_ms`; rather too little than too much.
    pub(super) fn age(&self, server_ms: i64) -> u64 {
        self.observe(server_ms);
        u64::try_from(self.local() - server_ms - self.ahead()).unwrap_or(0)
    }

    /// What the server's clock shows now, or a little less.
    pub(super) fn server_ms(&self) -> i64 {
        match self.ahead() {
            i64::MAX => self.local(),
            ahead => self.local() - ahead,
        }
    }

    fn ahead(&self) -> i64 {
        self.0.present.load(Ordering::Relaxed).min(self.0.before.load(Ordering::Relaxed))
    }

    fn local(&self) -> i64 {
        self.0.start_ms.saturating_add(i64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_wrong_makes_no_message_older_than_it_is() {
        let clock = Clock::new();
        // This machine is five seconds ahead.
        clock.observe(clock.local() - 5_000);
        assert!(clock.age(clock.local() - 5_000) < 100);
        assert!((1_000..1_100).contains(&clock.age(clock.local() - 6_000)));
        // One that is behind: nothing comes from the future.
        let clock = Clock::new();
        clock.observe(clock.local() + 7_000);
        assert!(clock.age(clock.local() + 7_000) < 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_makes_messages_older_for_a_while_and_not_for_good() {
        let clock = Clock::new();
        let server = clock.local();
        assert_eq!(clock.age(server), 0);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(clock.age(server), 6_000, "time passes, whatever this machine's clock says");
        // The server's clock is set back by an hour.
        let mut late = Vec::new();
        for _ in 0..3 {
            late.push(clock.age(clock.local() - 3_600_000));
            tokio::time::advance(REMEMBERED).await;
        }
        assert_eq!(late, [3_600_000, 3_600_000, 0]);
    }
}
