//! The callers' side of the task that sends requests.
//!
//! A caller that finds nothing under way sends by itself, and tells the task what it waits for: each task that a request does not
//! pass is one less to be woken.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::places::Places;
use crate::{envelope::Envelope, error::Error, waiting::Waiting};

/// Marks the token of a caller that sends by itself.
pub(super) const LONE: u64 = 1 << 63;

/// A request on its way to another node.
pub(crate) struct Ask {
    pub(crate) node: Arc<str>,
    /// With its request part; the token, and what is left to the deadline, are filled in when it leaves.
    pub(crate) envelope: Envelope,
    pub(crate) deadline: Instant,
    pub(crate) waiting: Waiting<Heard>,
}

/// What a caller hears.
pub(crate) enum Heard {
    Reply(Result<Bytes, Error>),
    /// Nothing for too long; it goes on listening here.
    Silence(oneshot::Receiver<Heard>),
    /// The request has not left by its deadline, and does not leave any more.
    NotSent,
}

/// Who has the right to send by itself.
pub(super) mod turn {
    /// Nobody, and the task may sleep.
    pub(in crate::delivery) const CLOSED: u8 = 0;
    /// Whoever comes first: nobody is waited for. The task looks now and then.
    pub(in crate::delivery) const OPEN: u8 = 1;
    /// Somebody whom the task has not met.
    pub(in crate::delivery) const TAKEN: u8 = 2;
}

/// The callers' side of the task.
// In cache lines of its own: every call writes to it.
#[repr(align(128))]
pub(crate) struct Asks {
    /// Has room for whatever has a place.
    queue: mpsc::Sender<Ask>,
    /// For what was handed over and has not left.
    pub(crate) places: Places,
    /// Who sends by itself, with its token. The task looks here when a reply comes, and is not woken.
    lone: mpsc::Sender<(u64, Waiting<Heard>)>,
    pub(super) turn: AtomicU8,
    /// How many have sent by themselves.
    tokens: AtomicU64,
}

/// The task's side.
pub(crate) struct AsksReceiver {
    pub(super) queue: mpsc::Receiver<Ask>,
    pub(super) lone: mpsc::Receiver<(u64, Waiting<Heard>)>,
}

impl Asks {
    pub(crate) fn new(most: usize) -> (Self, AsksReceiver) {
        let (queue, asks) = mpsc::channel(most.max(1));
        let (lone, waiting) = mpsc::channel(1);
        let (turn, tokens) = (AtomicU8::new(turn::CLOSED), AtomicU64::new(0));
        let this = Self { queue, places: Places::new(most), lone, turn, tokens };
        (this, AsksReceiver { queue: asks, lone: waiting })
    }

    /// Lets a caller send this request by itself if nothing is under way; otherwise gives back what waits for the reply.
    pub(crate) fn go_alone(&self, envelope: &mut Envelope, waiting: Waiting<Heard>) -> Result<(), Waiting<Heard>> {
        // Nearly always somebody else is under way, and looking costs less than trying.
        if self.turn.load(Ordering::Relaxed) != turn::OPEN {
            return Err(waiting);
        }
        let Some(request) = &mut envelope.request else { return Err(waiting) };
        let taken = self.turn.compare_exchange(turn::OPEN, turn::TAKEN, Ordering::Acquire, Ordering::Relaxed);
        if taken.is_err() {
            return Err(waiting);
        }
        let token = self.tokens.fetch_add(1, Ordering::Relaxed) | LONE;
        // The task has met whoever had the turn before: there is room, unless the task is gone.
        self.lone.try_send((token, waiting)).map_err(|refused| refused.into_inner().1)?;
        request.token = token;
        Ok(())
    }

    /// Hands over a request that has a place. Where the task is gone, the caller hears so: what waits is dropped.
    pub(crate) fn hand_over(&self, ask: Ask) {
        drop(self.queue.try_send(ask));
    }

    /// Whether what was handed over may never be looked at.
    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Passes the turn on, if it is where it is thought to be.
    pub(super) fn swap(&self, from: u8, to: u8) -> bool {
        self.turn.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{envelope::RequestPart, message::Kind};

    #[test]
    fn only_one_goes_alone_and_the_next_when_the_task_has_met_it() {
        let (asks, mut task) = Asks::new(1);
        let go = || {
            let mut envelope = Envelope::new("a".into(), Kind::Query, &"node".into(), Bytes::new());
            envelope.request =
                Some(Box::new(RequestPart { token: 0, key: None, remaining_ms: 0, deadline_ms: 0, probe: false }));
            let (waiting, _) = Waiting::new(None);
            asks.go_alone(&mut envelope, waiting).is_ok().then_some(envelope)
        };
        assert!(go().is_none(), "the task sleeps");
        assert!(asks.swap(turn::CLOSED, turn::OPEN));
        assert!(go().is_some() && go().is_none());
        assert!(!asks.swap(turn::CLOSED, turn::OPEN) && !asks.swap(turn::OPEN, turn::CLOSED), "it may not sleep now");
        assert!(task.lone.try_recv().is_ok());
    }
}
