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
/// The most frames of a reliable lane that wait for the store.
const RELIABLE_WINDOW: usize = 8;

/// The sending end of a lane.
#[derive(Debug)]
pub(crate) struct Lane(mpsc::Sender<Item>);

#[expect(clippy::large_enum_variant, reason = "nearly all items are messages: a box would cost each an allocation")]
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

    /// Stores a reliable event; an outcome that is not known in time is an error that says so.
    pub(crate) async fn store(&self, envelope: Envelope, timeout: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + timeout;
        let (done, stored) = oneshot::channel();
        match tokio::time::timeout_at(deadline, self.0.send(Item::Message(envelope, Some(done)))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Error::shutting_down()),
            Err(_) => return Err(full()),
        }
        match tokio::time::timeout_at(deadline, stored).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => {
                let text = "this node ended before the store confirmed: the event may be stored";
                Err(Error::unknown(ErrorKind::ShuttingDown, text))
            }
            Err(_) => {
                let text = format!("the store did not confirm within {timeout:?}: the event may be stored");
                Err(Error::unknown(ErrorKind::TimedOut, text))
            }
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
    while receiver.recv_many(&mut items, limit).await > 0 {
        let mut flushes = Vec::new();
        let mut envelopes = Vec::with_capacity(items.len());
        for item in items.drain(..) {
            match item {
                Item::Message(mut envelope, _) => {
                    sequence += 1;
                    (envelope.sequence, envelope.incarnation) = (sequence, incarnation);
                    envelopes.push(envelope);
                }
                Item::Flush(done) => flushes.push(done),
            }
        }
        let mut rest = envelopes.drain(..).peekable();
        while rest.peek().is_some() {
            let batch = frame::take(&mut rest, limit, frame::MAX_TOGETHER, Envelope::size);
            let count = batch.len();
            if let Err(error) = link.publish(batch).await {
                counters.drop_events(count as u64, "the transport could not take them");
                tracing::debug!(target: "catga::delivery", %error, count, "events of QoS 0 were dropped");
            }
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
        let mut messages = Vec::with_capacity(count);
        for item in items.drain(..) {
            match item {
                Item::Message(envelope, done) => messages.push((envelope, done)),
                Item::Flush(done) => flushes.push(done),
            }
        }
        let mut rest = messages.drain(..).peekable();
        while rest.peek().is_some() {
            let batch = frame::take(&mut rest, limit, most, |(envelope, _): &(Envelope, _)| envelope.size());
            let link = link.clone();
            under_way.push(Box::pin(async move {
                let (envelopes, waiting): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
                let result = link.store(envelopes).await;
                for done in waiting.into_iter().flatten() {
                    drop(done.send(result.as_ref().copied().map_err(Error::duplicate)));
                }
            }));
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
