//! A lane: the way out for the events of one type. What arrives while its task is busy leaves together.
//!
//! There is no linger time: a lone event leaves at once. A caller encodes first, then waits for room in the lane's
//! bounded queue; the task owns everything else.

use std::{sync::Arc, task::Poll};

use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Duration, Instant},
};

use super::{counters::Counters, node::Node};
use crate::{
    envelope::Envelope,
    error::{Error, ErrorKind},
    frame,
    message::{MessageInfo, Qos},
    transport::Link,
};

/// The most reliable messages that share a frame: more would make what a crash repeats larger, and gain little.
const RELIABLE_FRAME: usize = 32;
/// The most frames of a reliable lane that wait for the store. Where the server is near, four are as fast, and two a
/// quarter slower; where it is far, each is a round trip.
const RELIABLE_WINDOW: usize = 8;

/// The sending end of a lane.
#[derive(Clone, Debug)]
pub(crate) struct Lane(mpsc::Sender<Item>);

enum Item {
    Message(Envelope, Option<oneshot::Sender<Result<(), Error>>>),
    /// Answered when everything before it has left.
    Flush(oneshot::Sender<()>),
}

impl Lane {
    pub(crate) fn open(node: &Node, message: MessageInfo) -> Self {
        let (sender, receiver) = mpsc::channel(node.limits.queue.max(1));
        let (link, counters, closed) = (node.link.clone(), node.counters.clone(), node.closed.clone());
        let incarnation = node.incarnation;
        node.tasks.spawn(async move {
            let work = async {
                match message.qos {
                    Qos::AtMostOnce => {
                        let limit = frame_limit(message, frame::MAX_MESSAGES);
                        carry(link, receiver, limit, counters, incarnation).await;
                    }
                    Qos::AtLeastOnce => store(link, receiver, frame_limit(message, RELIABLE_FRAME)).await,
                }
            };
            closed.run_until_cancelled(work).await.unwrap_or_default();
        });
        Self(sender)
    }

    /// Hands over an event of QoS 0 if there is room; gives it back if not.
    pub(crate) fn try_hand_over(&self, envelope: Envelope) -> Result<(), Box<Envelope>> {
        self.0.try_send(Item::Message(envelope, None)).or_else(|error| match error.into_inner() {
            Item::Message(envelope, _) => Err(Box::new(envelope)),
            Item::Flush(_) => Ok(()),
        })
    }

    /// Hands over an event of QoS 0; an error says that there was no room in time.
    pub(crate) async fn hand_over(&self, envelope: Envelope, timeout: Duration) -> Result<(), Error> {
        match self.0.send_timeout(Item::Message(envelope, None), timeout).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(Error::shutting_down()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(full()),
        }
    }

    /// Hands over a reliable event if there is room; gives it back if not.
    pub(crate) fn try_store(&self, envelope: Envelope, timeout: Duration) -> Result<Confirmation, Box<Envelope>> {
        let (done, stored) = oneshot::channel();
        match self.0.try_send(Item::Message(envelope, Some(done))).map_err(|error| error.into_inner()) {
            Err(Item::Message(envelope, _)) => Err(Box::new(envelope)),
            Ok(()) | Err(Item::Flush(_)) => Ok(Confirmation { stored, timeout, deadline: Instant::now() + timeout }),
        }
    }

    /// Hands over a reliable event; an error says that there was no room in time.
    pub(crate) async fn store(&self, envelope: Envelope, timeout: Duration) -> Result<Confirmation, Error> {
        let deadline = Instant::now() + timeout;
        let (done, stored) = oneshot::channel();
        match tokio::time::timeout_at(deadline, self.0.send(Item::Message(envelope, Some(done)))).await {
            Ok(Ok(())) => Ok(Confirmation { stored, timeout, deadline }),
            Ok(Err(_)) => Err(Error::shutting_down()),
            Err(_) => Err(full()),
        }
    }

    /// Waits until everything that was handed over before has left.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.0.send(Item::Flush(done)).await.is_ok() {
            // An error means that the lane is gone, and with it everything in it.
            drop(flushed.await);
        }
    }
}

/// A reliable event that has been handed over and waits for the store.
pub(crate) struct Confirmation {
    stored: oneshot::Receiver<Result<(), Error>>,
    timeout: Duration,
    deadline: Instant,
}

impl Confirmation {
    /// An outcome that is not known in time is an error that says so.
    pub(crate) async fn wait(self) -> Result<(), Error> {
        match tokio::time::timeout_at(self.deadline, self.stored).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => {
                let text = "this node ended before the store confirmed: the event may be stored";
                Err(Error::unknown(ErrorKind::ShuttingDown, text))
            }
            Err(_) => {
                let text = format!("the store did not confirm within {:?}: the event may be stored", self.timeout);
                Err(Error::unknown(ErrorKind::TimedOut, text))
            }
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
    /// Who waits for the store.
    waiting: Vec<oneshot::Sender<Result<(), Error>>>,
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

/// The task of a reliable lane.
async fn store(link: Arc<dyn Link>, mut receiver: mpsc::Receiver<Item>, limit: usize) {
    // What the store takes one by one must not be too large together.
    let most = link.max_batch().min(frame::MAX_TOGETHER);
    let mut items = Vec::with_capacity(limit);
    // Polled all together: a set that polls those alone that are woken would wake this task anew whenever all wait.
    let mut under_way: Vec<BoxFuture<'_, ()>> = Vec::with_capacity(RELIABLE_WINDOW);
    let leave = async |batch: Batch| {
        let result = link.store(batch.messages).await;
        for done in batch.waiting {
            // Who has gone does not want to know.
            drop(done.send(result.as_ref().copied().map_err(Error::duplicate)));
        }
    };
    loop {
        let count = tokio::select! {
            biased;
            () = one_of(&mut under_way), if !under_way.is_empty() => continue,
            count = receiver.recv_many(&mut items, limit), if under_way.len() < RELIABLE_WINDOW => count,
        };
        if count == 0 {
            break;
        }
        let mut flushes = Vec::new();
        let mut batch = Batch::with_capacity(count);
        for item in items.drain(..) {
            match item {
                Item::Message(envelope, done) => {
                    let size = envelope.size();
                    if batch.is_full(size, most) {
                        under_way.push(leave(std::mem::take(&mut batch)).boxed());
                    }
                    batch.add(envelope, size);
                    batch.waiting.extend(done);
                }
                Item::Flush(done) => flushes.push(done),
            }
        }
        if !batch.messages.is_empty() {
            under_way.push(leave(batch).boxed());
        }
        if !flushes.is_empty() {
            join_all(under_way.drain(..)).await;
            for done in flushes {
                let _ = done.send(());
            }
        }
    }
    join_all(under_way).await;
}

/// Waits until at least one of them has ended, and lets go of it.
async fn one_of(under_way: &mut Vec<BoxFuture<'_, ()>>) {
    std::future::poll_fn(|cx| {
        let before = under_way.len();
        under_way.retain_mut(|frame| frame.poll_unpin(cx).is_pending());
        if under_way.len() < before { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
