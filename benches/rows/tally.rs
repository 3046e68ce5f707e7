//! Counts what was sent and what was handled, so that a run which loses or invents a message has no figure.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::timeout};

use super::Result;

/// The most events of QoS 0 between publishers and handlers, and the most bytes of them: nobody has to drop one, and the
/// server does not cut off who is behind. Both sides keep to it.
const UNDER_WAY: u64 = 4_096;
const BYTES: u64 = 16 << 20;
/// So often, while as many are handled as may be under way, publishers look again whether there is room.
const STEPS: u64 = 16;
/// For how many events at a time it is known when they were sent.
const STAMPS: u64 = 1 << 20;
/// Marks a wait, which takes the place of the time when an event was sent.
const HANDLED: u64 = 1 << 63;
/// How long the last message may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// For how long is looked whether more come than were sent.
const AFTERWARDS: Duration = Duration::from_millis(50);

/// What is counted; a clone counts the same.
#[derive(Clone)]
pub struct Tally(Arc<Counts>);

struct Counts {
    /// The most that may be under way.
    most: u64,
    /// When an event was sent, in nanoseconds, then how long it took; nothing, where that is not asked.
    stamps: Vec<AtomicU64>,
    made: Instant,
    sent: AtomicU64,
    handled: AtomicU64,
    /// The sum of the numbers that were handled: one message twice instead of two shows in it.
    sum: AtomicU64,
    /// How many there will be.
    goal: AtomicU64,
    began: OnceLock<Instant>,
    ended: OnceLock<Instant>,
    moved: Notify,
}

impl Default for Tally {
    fn default() -> Self {
        Self::new(None, false)
    }
}

/// How many messages of a size may be under way.
pub fn under_way(size: Option<usize>) -> u64 {
    size.map_or(UNDER_WAY, |size| (BYTES / size as u64).clamp(STEPS, UNDER_WAY))
}

impl Tally {
    /// For messages of this size; if timed, it notes how long each takes from its publisher to its handler.
    pub fn new(size: Option<usize>, timed: bool) -> Self {
        let stamps = if timed { (0..STAMPS).map(|_| AtomicU64::new(0)).collect() } else { Vec::new() };
        Self(Arc::new(Counts {
            most: under_way(size),
            stamps,
            made: Instant::now(),
            sent: AtomicU64::default(),
            handled: AtomicU64::default(),
            sum: AtomicU64::default(),
            goal: AtomicU64::default(),
            began: OnceLock::default(),
            ended: OnceLock::default(),
            moved: Notify::default(),
        }))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.made.elapsed().as_nanos()).unwrap_or_default()
    }

    fn stamp(&self, number: u64) -> Option<&AtomicU64> {
        self.0.stamps.get((number % STAMPS) as usize)
    }

    /// How long each took that was timed, in nanoseconds and sorted.
    pub fn waits(&self) -> Vec<u32> {
        let stamps = self.0.stamps.iter().map(|stamp| stamp.load(Relaxed));
        let waits = stamps.filter(|stamp| stamp & HANDLED != 0).map(|stamp| stamp & !HANDLED);
        let mut waits: Vec<_> = waits.map(|wait| u32::try_from(wait).unwrap_or(u32::MAX)).collect();
        waits.sort_unstable();
        waits
    }

    /// A handler has this message.
    pub fn handled(&self, number: u64) {
        let counts = &*self.0;
        if let Some(stamp) = self.stamp(number) {
            stamp.store(self.now().saturating_sub(stamp.load(Relaxed)) | HANDLED, Relaxed);
        }
        counts.sum.fetch_add(number, Relaxed);
        // One order for all: either this side sees the goal, or the other sees that it is reached.
        let handled = counts.handled.fetch_add(1, SeqCst) + 1;
        if handled == 1 {
            counts.began.get_or_init(Instant::now);
        }
        if handled == counts.goal.load(SeqCst) {
            counts.ended.get_or_init(Instant::now);
            counts.moved.notify_waiters();
        } else if handled.is_multiple_of(counts.most / STEPS) {
            counts.moved.notify_waiters();
        }
    }

    /// Waits until this one more may be sent.
    pub async fn room(&self, number: u64) {
        let counts = &*self.0;
        let sent = counts.sent.fetch_add(1, Relaxed);
        self.until(|| sent < counts.handled.load(SeqCst) + counts.most).await;
        if let Some(stamp) = self.stamp(number) {
            stamp.store(self.now(), Relaxed);
        }
    }

    /// Before the first is handled: how many there will be, so that the last one's time is known.
    pub fn expect(&self, messages: u64) {
        self.0.goal.store(messages, SeqCst);
    }

    /// Waits until so many are handled.
    pub async fn reach(&self, messages: u64) -> Result {
        self.expect(messages);
        let all = self.until(|| self.0.handled.load(SeqCst) >= messages);
        let missing = |_| format!("{messages} messages were sent and {} handled", self.0.handled.load(SeqCst));
        timeout(PATIENCE, all).await.map_err(missing)
    }

    /// Waits until all are handled, and checks that they are those that were sent.
    pub async fn check(&self, messages: u64, sum: u64) -> Result {
        self.reach(messages).await?;
        tokio::time::sleep(AFTERWARDS).await;
        let handled = self.0.handled.load(SeqCst);
        if handled != messages {
            return Err(format!("{messages} messages were sent and {handled} handled"));
        }
        match self.0.sum.load(Relaxed) == sum {
            true => Ok(()),
            false => Err("other messages were handled than were sent".to_owned()),
        }
    }

    /// How long it took from the first message to the last one that was expected.
    pub fn took(&self) -> Option<Duration> {
        Some(self.0.ended.get()?.duration_since(*self.0.began.get()?))
    }

    async fn until(&self, reached: impl Fn() -> bool) {
        while !reached() {
            let mut moved = std::pin::pin!(self.0.moved.notified());
            // What is handled from here on is heard of.
            moved.as_mut().enable();
            if reached() {
                return;
            }
            moved.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_run_that_loses_or_invents_a_message_has_no_figure() {
        let counted = |numbers: &[u64]| {
            let tally = Tally::default();
            tally.expect(3);
            numbers.iter().for_each(|number| tally.handled(*number));
            tally
        };
        let right = counted(&[3, 1, 2]);
        assert_eq!(right.check(3, 6).await, Ok(()));
        assert!(right.took().is_some());
        assert!(counted(&[1, 2, 3, 3]).check(3, 6).await.is_err());
        assert!(counted(&[1, 2, 2]).check(3, 6).await.is_err());
        tokio::time::pause();
        assert!(counted(&[1, 2]).check(3, 6).await.is_err());
    }

    #[tokio::test]
    async fn an_event_that_is_timed_waits_from_its_publisher_to_its_handler() {
        let tally = Tally::new(Some(64 << 10), true);
        tally.room(7).await;
        assert!(tally.waits().is_empty());
        tally.handled(7);
        assert_eq!(tally.waits().len(), 1);
        assert!(Tally::default().waits().is_empty());
    }
}
