//! Who waits for something that a task owns, and until when.
//!
//! Nearly no such caller has a timer: that would be a lock of the runtime, taken twice for each message. The task goes through
//! what it owns now and then, and tells those who have waited long enough. So what they wait for must be where the task
//! sees it, from when they have no timer on.

use std::time::Duration;

use tokio::{
    sync::oneshot,
    time::{Instant, Interval, MissedTickBehavior, interval},
};

/// A caller that waits for a `T`.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    /// None once it has heard.
    answer: Option<oneshot::Sender<T>>,
    /// When it is to hear that it has waited long enough; None if it does not want to.
    pub(crate) until: Option<Instant>,
}

impl<T> Waiting<T> {
    /// One who waits until then.
    pub(crate) fn new(until: Option<Instant>) -> (Self, oneshot::Receiver<T>) {
        let (answer, heard) = oneshot::channel();
        (Self { answer: Some(answer), until }, heard)
    }

    /// Tells it; says whether it still waited.
    pub(crate) fn tell(&mut self, what: T) -> bool {
        self.answer.take().is_some_and(|answer| answer.send(what).is_ok())
    }

    /// Whether it has waited long enough, and not heard.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.answer.is_some() && self.until.is_some_and(|until| until <= now)
    }

    /// Whether it has heard, or gone.
    pub(crate) fn is_over(&self) -> bool {
        self.answer.as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

/// How often a task looks who has waited long enough, at the most and at the least.
const LOOKS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// Comes due so often that nobody who waits so long hears later than an eighth of it after the time, or 100 ms.
pub(crate) fn looks(wait: Duration) -> Interval {
    let mut looks = interval((wait / 8).clamp(LOOKS.0, LOOKS.1));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_has_heard_or_gone_is_not_late() {
        let start = Instant::now();
        let (mut waiting, heard) = Waiting::new(Some(start));
        assert!(waiting.is_late(start) && !waiting.is_over());
        assert!(waiting.tell(1) && !waiting.tell(2));
        assert_eq!(heard.await, Ok(1));
        assert!(!waiting.is_late(start) && waiting.is_over());
        let (gone, _) = Waiting::<u8>::new(Some(start));
        assert!(gone.is_over());
        let (patient, _heard) = Waiting::<u8>::new(None);
        assert!(!patient.is_late(start + Duration::from_secs(1_000_000)));
    }
}
