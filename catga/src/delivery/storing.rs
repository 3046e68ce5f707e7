//! The task of a reliable lane: what it is handed leaves in frames, and who handed it over hears what became of it.
//!
//! No caller that waits for the default time has a timer: this task looks now and then who has waited too long. A timer for
//! each event is a lock of the runtime, taken twice, and a future that is boxed.

use std::{
    collections::VecDeque,
    future::Future,
    mem,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context as TaskContext, Poll, ready},
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Duration, Instant, MissedTickBehavior, interval},
};

use super::lane::gather;
use crate::{
    envelope::Envelope,
    error::{Error, ErrorKind},
    frame::MAX_TOGETHER,
    transport::Link,
};

/// The most frames of a reliable lane that wait for the store. What comes to it together costs it less, and where it is far,
/// each is a round trip.
const WINDOW: usize = 32;
/// While fewer wait, a frame leaves with whatever is there; further ones only when they are full.
const AT_ONCE: usize = 8;

/// Part of the default time to wait, after which the task looks who has waited too long.
const LOOKS: u32 = 50;

/// What a reliable lane is handed.
#[expect(clippy::large_enum_variant, reason = "nearly all are events, and a box for each would cost more")]
pub(super) enum Item {
    Event(Envelope, Waiting),
    /// Answered when everything before it has left.
    Flush(oneshot::Sender<()>),
}

impl Item {
    fn size(&self) -> usize {
        match self {
            Self::Event(envelope, _) => envelope.size(),
            Self::Flush(_) => 0,
        }
    }
}

/// Who waits for the store.
pub(super) struct Waiting {
    /// None once it has heard.
    done: Option<oneshot::Sender<Result<(), Error>>>,
    /// Until when; a caller that has a timer of its own says nothing.
    deadline: Option<Instant>,
}

/// A reliable event that has been handed over and waits for the store; a future of what became of it. An outcome that is not
/// known in time is an error that says so.
pub(crate) enum Confirmation {
    Lane(oneshot::Receiver<Result<(), Error>>),
    Boxed(BoxFuture<'static, Result<(), Error>>),
}

impl Waiting {
    /// One who waits until then; `usual` says that it waits as long as nearly all others. What waits in the lane by one time
    /// ends in the order in which it came, so that none of it hides behind another; all others have timers of their own.
    pub(super) fn new(deadline: Instant, usual: bool) -> (Self, Confirmation) {
        let (done, stored) = oneshot::channel();
        let (done, stored) = (Some(done), Confirmation::Lane(stored));
        match usual {
            true => (Self { done, deadline: Some(deadline) }, stored),
            false => (Self { done, deadline: None }, Confirmation::Boxed(in_time(stored, deadline).boxed())),
        }
    }

    fn is_late(&self, now: Instant) -> bool {
        self.done.is_some() && self.deadline.is_some_and(|deadline| deadline <= now)
    }

    fn tell(&mut self, result: Result<(), Error>) {
        if let Some(done) = self.done.take() {
            // Who has gone does not want to know.
            drop(done.send(result));
        }
    }
}

impl Future for Confirmation {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Boxed(stored) => stored.poll_unpin(cx),
            Self::Lane(stored) => Poll::Ready(ready!(stored.poll_unpin(cx)).unwrap_or_else(|_| {
                let text = "this node ended before the store confirmed: the event may be stored";
                Err(Error::unknown(ErrorKind::ShuttingDown, text))
            })),
        }
    }
}

/// Waits until then for the store, and no longer.
pub(super) async fn in_time(stored: impl Future<Output = Result<(), Error>>, deadline: Instant) -> Result<(), Error> {
    tokio::time::timeout_at(deadline, stored).await.unwrap_or_else(|_| Err(unconfirmed()))
}

fn unconfirmed() -> Error {
    Error::unknown(ErrorKind::TimedOut, "the store did not confirm in time: the event may be stored")
}

/// The task's state.
pub(super) struct Storing<'a> {
    link: &'a dyn Link,
    receiver: mpsc::Receiver<Item>,
    /// The most messages of a frame.
    limit: usize,
    /// What was taken and has not left: while as many frames as may wait for the store, and they for it.
    held: VecDeque<Item>,
    /// By [`Envelope::size`].
    held_bytes: usize,
    /// The most bytes of a frame.
    most: usize,
    /// The most that is held.
    most_held: usize,
    /// Polled all together: a set that polls those alone that are woken would wake this task anew whenever all wait.
    frames: Vec<Frame<'a>>,
    /// Answered when nothing is under way any more.
    flushes: Vec<oneshot::Sender<()>>,
    /// How many events were handed over and have not ended.
    under_way: &'a AtomicUsize,
}

/// A frame that waits for the store, and who waits for it.
struct Frame<'a> {
    storing: BoxFuture<'a, Result<(), Error>>,
    waiting: Vec<Waiting>,
}

impl<'a> Storing<'a> {
    pub(super) fn new(
        link: &'a dyn Link,
        receiver: mpsc::Receiver<Item>,
        limit: usize,
        under_way: &'a AtomicUsize,
    ) -> Self {
        let most_held = receiver.max_capacity();
        // What the store takes one by one must not be too large together.
        let most = link.max_batch().min(MAX_TOGETHER);
        let (held, frames, flushes) = (VecDeque::new(), Vec::with_capacity(WINDOW), Vec::new());
        Self { link, receiver, limit, held, held_bytes: 0, most, most_held, frames, flushes, under_way }
    }

    /// Stores what comes until nobody is left who could hand anything over; callers wait so long, nearly all.
    pub(super) async fn run(mut self, default: Duration) {
        let mut looks = interval((default / LOOKS).max(Duration::from_millis(1)));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut items, mut closed) = (Vec::with_capacity(self.limit), false);
        loop {
            let takes = self.frames.len() < WINDOW || self.held.len() < self.most_held;
            tokio::select! {
                biased;
                () = one_of(&mut self.frames, self.under_way), if !self.frames.is_empty() => {}
                count = self.receiver.recv_many(&mut items, self.limit), if takes && !closed => {
                    closed = count == 0;
                    self.hold(&mut items);
                }
                _ = looks.tick(), if !self.frames.is_empty() => self.look(),
            }
            while self.may_send() {
                if !self.frames.is_empty() && self.held.len() < self.limit {
                    gather(&mut self.receiver, &mut items, self.limit - self.held.len()).await;
                    self.hold(&mut items);
                }
                self.send();
            }
            if self.frames.is_empty() {
                for done in self.flushes.drain(..) {
                    let _ = done.send(());
                }
                if closed {
                    return;
                }
            }
        }
    }

    fn hold(&mut self, items: &mut Vec<Item>) {
        self.held_bytes += items.iter().map(Item::size).sum::<usize>();
        self.held.extend(items.drain(..));
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
            && let Some(item) = self.held.pop_front()
        {
            let size = item.size();
            if bytes + size > self.most && !messages.is_empty() {
                self.held.push_front(item);
                break;
            }
            bytes += size;
            match item {
                Item::Flush(done) => self.flushes.push(done),
                Item::Event(envelope, who) => {
                    messages.push(envelope);
                    waiting.push(who);
                }
            }
        }
        self.held_bytes -= bytes;
        if !messages.is_empty() {
            self.frames.push(Frame { storing: self.link.store(messages), waiting });
        }
    }

    /// Tells those who have waited too long. What has not left does not leave any more.
    fn look(&mut self) {
        let (now, before) = (Instant::now(), self.held.len());
        for item in mem::take(&mut self.held) {
            let size = item.size();
            match item {
                Item::Event(_, mut who) if who.is_late(now) => {
                    self.held_bytes -= size;
                    who.tell(Err(never_left()));
                }
                item => self.held.push_back(item),
            }
        }
        self.under_way.fetch_sub(before - self.held.len(), Ordering::AcqRel);
        for frame in &mut self.frames {
            // They are counted when the frame has ended.
            for who in &mut frame.waiting {
                if who.is_late(now) {
                    who.tell(Err(unconfirmed()));
                }
            }
        }
    }
}

fn never_left() -> Error {
    Error::not_started(ErrorKind::Overloaded, "the store did not take what came before this event in time")
}

/// Waits until at least one of them has ended, and lets go of it.
async fn one_of(frames: &mut Vec<Frame<'_>>, under_way: &AtomicUsize) {
    std::future::poll_fn(|cx| {
        let before = frames.len();
        frames.retain_mut(|frame| {
            let Poll::Ready(result) = frame.storing.poll_unpin(cx) else { return true };
            under_way.fetch_sub(frame.waiting.len(), Ordering::AcqRel);
            for who in &mut frame.waiting {
                who.tell(result.as_ref().copied().map_err(Error::duplicate));
            }
            false
        });
        if frames.len() < before { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
