//! A lane: the way out for the events of one type. What arrives while its task is busy leaves together.
//!
//! There is no linger time: a lone event leaves at once, and one that follows others waits for a turn of the runtime and
//! no longer. A caller encodes first, then waits for room in the lane's bounded queue; the task owns everything else. Who
//! finds nothing under way on a reliable lane stores by itself: each task that it does not pass is one less to be woken on
//! the way there and back.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context as TaskContext, Poll},
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::unconstrained,
    time::{Duration, Instant},
};

use super::{
    counters::Counters,
    node::Node,
    storing::{Confirmation, Storing, Waiting, in_time},
    tasks::Tasks,
};
use crate::{
    envelope::Envelope,
    error::{Error, ErrorKind},
    frame,
    message::{MessageInfo, Qos},
    transport::Link,
};

/// The most reliable messages that share a frame: more would make what a crash repeats larger, and gain little.
const RELIABLE_FRAME: usize = 32;

/// How often a lane looks whether those have ended who store by themselves.
const LOOK: Duration = Duration::from_millis(5);

/// The sending end of a lane.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    queue: mpsc::Sender<Item>,
    /// How many reliable events were handed over and have not ended.
    under_way: Arc<AtomicUsize>,
    /// How long nearly all callers wait for the store.
    default: Duration,
}

/// What a lane is handed.
#[expect(clippy::large_enum_variant, reason = "nearly all are messages, and a box for each would cost more")]
pub(super) enum Item {
    /// An event; a reliable one with who waits for the store.
    Message(Envelope, Option<Waiting>),
    /// Answered when everything before it has left.
    Flush(oneshot::Sender<()>),
}

impl Lane {
    pub(crate) fn open(node: &Node, message: MessageInfo) -> Self {
        // A reliable lane holds as much again while it waits for the store.
        let queue = if message.qos == Qos::AtLeastOnce { node.limits.queue.div_ceil(2) } else { node.limits.queue };
        let (queue, receiver) = mpsc::channel(queue.max(1));
        let (under_way, default) = (Arc::new(AtomicUsize::new(0)), node.limits.send_deadline);
        let ended = under_way.clone();
        let (link, counters, closed) = (node.link.clone(), node.counters.clone(), node.closed.clone());
        let incarnation = node.incarnation;
        node.tasks.spawn(async move {
            let work = async {
                match message.qos {
                    Qos::AtMostOnce => {
                        let limit = frame_limit(message, frame::MAX_MESSAGES);
                        carry(link, receiver, limit, counters, incarnation).await;
                    }
                    Qos::AtLeastOnce => {
                        let limit = frame_limit(message, RELIABLE_FRAME);
                        Storing::new(&*link, receiver, limit, &ended).run(default).await;
                    }
                }
            };
            closed.run_until_cancelled(work).await.unwrap_or_default();
        });
        Self { queue, under_way, default }
    }

    /// Hands over an event of QoS 0 if there is room; gives it back if not.
    pub(crate) fn try_hand_over(&self, envelope: Envelope) -> Result<(), Box<Envelope>> {
        self.queue.try_send(Item::Message(envelope, None)).or_else(|error| match error.into_inner() {
            Item::Message(envelope, _) => Err(Box::new(envelope)),
            Item::Flush(_) => Ok(()),
        })
    }

    /// Hands over an event of QoS 0; an error says that there was no room in time.
    pub(crate) async fn hand_over(&self, envelope: Envelope, timeout: Duration) -> Result<(), Error> {
        match self.queue.send_timeout(Item::Message(envelope, None), timeout).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(Error::shutting_down()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(full()),
        }
    }

    /// Takes the lane for one event, if nothing is under way on it.
    pub(crate) fn take(&self) -> bool {
        self.under_way.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Stores an event for which the lane was taken. If the caller goes, a task goes on with it.
    pub(crate) fn store_alone(&self, envelope: Envelope, node: &Node, timeout: Duration) -> Confirmation {
        let (link, under_way) = (node.link.clone(), self.under_way.clone());
        let storing = async move {
            let stored = link.store(vec![envelope]).await;
            under_way.fetch_sub(1, Ordering::AcqRel);
            stored
        };
        // What comes after it must not leave before it because its task has had its turn.
        let storing = Some(unconstrained(storing).boxed());
        let own = Own { storing, tasks: node.tasks.clone(), runtime: Handle::current() };
        let (tasks, deadline) = (node.tasks.clone(), Instant::now() + timeout);
        let unless_killed = async move {
            tokio::select! {
                biased;
                stored = in_time(own, deadline) => stored,
                () = tasks.until_killed() => Err(Error::killed()),
            }
        };
        Confirmation::Boxed(unless_killed.boxed())
    }

    /// Hands over a reliable event if there is room; gives it back if not.
    pub(crate) fn try_store(&self, envelope: Envelope, timeout: Duration) -> Result<Confirmation, Box<Envelope>> {
        match self.queue.try_reserve() {
            Ok(room) => Ok(self.enter(room, envelope, Instant::now() + timeout, timeout == self.default)),
            Err(_) => Err(Box::new(envelope)),
        }
    }

    /// Hands over a reliable event; an error says that there was no room in time.
    pub(crate) async fn store(&self, envelope: Envelope, timeout: Duration) -> Result<Confirmation, Error> {
        let deadline = Instant::now() + timeout;
        match tokio::time::timeout_at(deadline, self.queue.reserve()).await {
            Ok(Ok(room)) => Ok(self.enter(room, envelope, deadline, false)),
            Ok(Err(_)) => Err(Error::shutting_down()),
            Err(_) => Err(full()),
        }
    }

    /// `usual` says that the caller waits as long as nearly all others.
    fn enter(&self, room: mpsc::Permit<'_, Item>, envelope: Envelope, deadline: Instant, usual: bool) -> Confirmation {
        let (waiting, stored) = Waiting::new(deadline, usual);
        self.under_way.fetch_add(1, Ordering::AcqRel);
        room.send(Item::Message(envelope, Some(waiting)));
        stored
    }

    /// Waits until everything that was handed over before has left.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Item::Flush(done)).await.is_ok() {
            // An error means that the lane is gone, and with it everything in it.
            drop(flushed.await);
        }
    }

    /// Waits for whoever stores by itself.
    pub(crate) async fn settled(&self) {
        while self.under_way.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// An event that its caller stores. If the caller goes, a task goes on with it.
struct Own {
    storing: Option<BoxFuture<'static, Result<(), Error>>>,
    tasks: Tasks,
    /// It may be dropped outside of the runtime.
    runtime: Handle,
}

impl Future for Own {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let Some(storing) = &mut self.storing else { return Poll::Pending };
        let stored = std::task::ready!(storing.poll_unpin(cx));
        self.storing = None;
        Poll::Ready(stored)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(storing) = self.storing.take() {
            let _entered = self.runtime.enter();
            self.tasks.spawn(storing.map(drop));
        }
    }
}

fn full() -> Error {
    Error::not_started(
        ErrorKind::Overloaded,
        "the queue of this event type is full: it is published faster than it can leave",
    )
}

fn frame_limit(message: MessageInfo, default: usize) -> usize {
    match message.frame {
        0 => default,
        frame => frame.min(frame::MAX_MESSAGES),
    }
}

/// What leaves together.
#[derive(Default)]
struct Batch {
    messages: Vec<Envelope>,
    bytes: usize,
}

impl Batch {
    /// One for so many messages: growing step by step would move each several times.
    fn with_capacity(count: usize) -> Self {
        Self { messages: Vec::with_capacity(count), ..Self::default() }
    }

    /// Whether a message of this size has to leave with the next one; one that is too large leaves alone.
    fn is_full(&self, size: usize, most: usize) -> bool {
        !self.messages.is_empty() && self.bytes + size > most
    }

    fn add(&mut self, envelope: Envelope, size: usize) {
        self.messages.push(envelope);
        self.bytes += size;
    }
}

/// The task of a lane of QoS 0.
async fn carry(
    link: Arc<dyn Link>,
    mut receiver: mpsc::Receiver<Item>,
    limit: usize,
    counters: Arc<Counters>,
    incarnation: u64,
) {
    let mut sequence = 0;
    let mut items = Vec::with_capacity(limit);
    let leave = async |batch: Batch| {
        let count = batch.messages.len();
        if let Err(error) = link.publish(batch.messages).await {
            counters.drop_events(count as u64, "the transport could not take them");
            tracing::debug!(target: "catga::delivery", %error, count, "events of QoS 0 were dropped");
        }
    };
    while receiver.recv_many(&mut items, limit).await > 0 {
        let mut flushes = Vec::new();
        let mut batch = Batch::with_capacity(items.len());
        for item in items.drain(..) {
            match item {
                Item::Message(mut envelope, _) => {
                    sequence += 1;
                    (envelope.sequence, envelope.incarnation) = (sequence, incarnation);
                    let size = envelope.size();
                    if batch.is_full(size, frame::MAX_TOGETHER) {
                        leave(std::mem::take(&mut batch)).await;
                    }
                    batch.add(envelope, size);
                }
                Item::Flush(done) => flushes.push(done),
            }
        }
        if !batch.messages.is_empty() {
            leave(batch).await;
        }
        for done in flushes {
            let _ = done.send(());
        }
    }
}

/// Lets whoever is ready run once, and takes along what they hand over: where others are under way, more comes in a moment,
/// and a task that takes each at once sends them one by one.
pub(super) async fn gather<T>(receiver: &mut mpsc::Receiver<T>, items: &mut Vec<T>, limit: usize) {
    if items.len() < limit {
        tokio::task::yield_now().await;
        let room = limit - items.len();
        let _ = receiver.recv_many(items, room).now_or_never();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_others_are_about_to_hand_over_is_taken_along() {
        let (sender, mut receiver) = mpsc::channel(8);
        for number in 1..5 {
            let sender = sender.clone();
            tokio::spawn(async move { sender.send(number).await });
        }
        let mut items = vec![0];
        gather(&mut receiver, &mut items, 3).await;
        assert_eq!(items, [0, 1, 2]);
    }
}
