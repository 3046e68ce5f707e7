//! The task of a reliable lane: what it is handed leaves in frames, and who handed it over hears what became of it.
//!
//! What is handed over is taken up at once, whether or not it can leave: nearly no caller has a timer, and this task tells those
//! who have waited too long. A timer for each event is a lock of the runtime, taken twice, and a future that is boxed.

use std::{collections::VecDeque, task::Poll};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Duration, Instant},
};

use super::{gather::gather, places::Places, reliable::Handed};
use crate::{
    error::{Error, ErrorKind},
    frame::MAX_TOGETHER,
    transport::Link,
    waiting::{Waiting, looks},
};

/// The most frames of a reliable lane that wait for the store. What comes to it together costs it less, and where it is far,
/// each is a round trip.
const WINDOW: usize = 32;
/// While fewer wait, a frame leaves with whatever is there; further ones only when they are full.
const AT_ONCE: usize = 8;

/// The task's state.
pub(super) struct Storing<'a> {
    link: &'a dyn Link,
    handed: mpsc::Receiver<Handed>,
    flushes: mpsc::Receiver<oneshot::Sender<()>>,
    /// The most messages of a frame.
    limit: usize,
    /// The most bytes of a frame.
    most: usize,
    /// What was taken up and has not left.
    held: VecDeque<Handed>,
    /// By [`Envelope::size`](crate::envelope::Envelope::size).
    held_bytes: usize,
    /// Polled all together: a set that polls those alone that are woken would wake this task anew whenever all wait.
    frames: Vec<Frame<'a>>,
    /// For what was handed over and has not ended.
    places: &'a Places,
}

/// A frame that waits for the store, and who waits for it.
struct Frame<'a> {
    storing: BoxFuture<'a, Result<(), Error>>,
    waiting: Vec<Waiting<Result<(), Error>>>,
}

impl<'a> Storing<'a> {
    pub(super) fn new(
        link: &'a dyn Link,
        handed: mpsc::Receiver<Handed>,
        flushes: mpsc::Receiver<oneshot::Sender<()>>,
        limit: usize,
        places: &'a Places,
    ) -> Self {
        // What the store takes one by one must not be too large together.
        let most = link.max_batch().min(MAX_TOGETHER);
        let (held, frames) = (VecDeque::new(), Vec::with_capacity(WINDOW));
        Self { link, handed, flushes, limit, most, held, held_bytes: 0, frames, places }
    }

    /// Stores what comes until nobody is left who could hand anything over; callers without a timer wait so long at the least.
    pub(super) async fn run(mut self, usual: Duration) {
        let (mut looks, mut closed) = (looks(usual), false);
        let (mut came, mut flushes) = (Vec::with_capacity(self.limit), Vec::new());
        loop {
            tokio::select! {
                biased;
                () = one_of(&mut self.frames, self.places), if !self.frames.is_empty() => {}
                count = self.handed.recv_many(&mut came, self.limit), if !closed => {
                    closed = count == 0;
                    self.hold(&mut came);
                }
                Some(done) = self.flushes.recv() => flushes.push(done),
                _ = looks.tick(), if !self.frames.is_empty() => self.look(),
            }
            while self.may_send() {
                if !self.frames.is_empty() && self.held.len() < self.limit {
                    gather(&mut self.handed, &mut came, self.limit - self.held.len()).await;
                    self.hold(&mut came);
                }
                self.send();
            }
            // Who waits for a flush handed over before.
            if self.frames.is_empty() && self.handed.is_empty() {
                for done in flushes.drain(..) {
                    let _ = done.send(());
                }
                if closed {
                    return;
                }
            }
        }
    }

    fn hold(&mut self, came: &mut Vec<Handed>) {
        self.held_bytes += came.iter().map(|(envelope, _)| envelope.size()).sum::<usize>();
        self.held.extend(came.drain(..));
    }

    /// Whether a frame may leave.
    fn may_send(&self) -> bool {
        let full = self.held.len() >= self.limit || self.held_bytes >= self.most;
        !self.held.is_empty() && self.frames.len() < if full { WINDOW } else { AT_ONCE }
    }

    /// Sends what fits into a frame.
    fn send(&mut self) {
        let count = self.limit.min(self.held.len());
        let (mut messages, mut waiting) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut bytes = 0;
        while messages.len() < self.limit
            && let Some((envelope, who)) = self.held.pop_front()
        {
            let size = envelope.size();
            if bytes + size > self.most && !messages.is_empty() {
                self.held.push_front((envelope, who));
                break;
            }
            bytes += size;
            messages.push(envelope);
            waiting.push(who);
        }
        self.held_bytes -= bytes;
        self.frames.push(Frame { storing: self.link.store(messages), waiting });
    }

    /// Tells those who have waited too long. What has not left does not leave any more.
    fn look(&mut self) {
        let (now, before) = (Instant::now(), self.held.len());
        self.held.retain_mut(|(envelope, who)| {
            let late = who.is_late(now);
            if late {
                self.held_bytes -= envelope.size();
                who.tell(Err(never_left()));
            }
            !late
        });
        self.places.free(before - self.held.len());
        for who in self.frames.iter_mut().flat_map(|frame| &mut frame.waiting) {
            // Its place is free when the frame has ended.
            if who.is_late(now) {
                who.tell(Err(unconfirmed()));
            }
        }
    }
}

fn never_left() -> Error {
    Error::not_started(ErrorKind::Overloaded, "the store did not take what came before this event in time")
}

pub(super) fn unconfirmed() -> Error {
    Error::unknown(ErrorKind::TimedOut, "the store did not confirm in time: the event may be stored")
}

/// Waits until at least one of them has ended, and lets go of it.
async fn one_of(frames: &mut Vec<Frame<'_>>, places: &Places) {
    std::future::poll_fn(|cx| {
        let before = frames.len();
        frames.retain_mut(|frame| {
            let Poll::Ready(result) = frame.storing.poll_unpin(cx) else { return true };
            places.free(frame.waiting.len());
            for who in &mut frame.waiting {
                who.tell(result.as_ref().copied().map_err(Error::duplicate));
            }
            false
        });
        if frames.len() < before { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
