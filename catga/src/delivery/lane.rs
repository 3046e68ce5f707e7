//! A lane: the way out for the events of one type of QoS 0. What arrives while its task is busy leaves together.
//!
//! There is no linger time: a lone event leaves at once, and one that follows others waits for a turn of the runtime and
//! no longer. A caller encodes first, then waits for room in the lane's bounded queue; the task owns everything else.

use std::{mem, sync::Arc};

use tokio::{
    sync::{mpsc, oneshot},
    time::Duration,
};

use super::{counters::Counters, node::Node};
use crate::{
    envelope::Envelope,
    error::{Error, ErrorKind},
    frame,
    message::MessageInfo,
    transport::Link,
};

/// The sending end of a lane.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    queue: mpsc::Sender<Envelope>,
    /// Answered when everything before has left.
    flushes: mpsc::Sender<oneshot::Sender<()>>,
}

impl Lane {
    pub(crate) fn open(node: &Node, message: MessageInfo) -> Self {
        let (queue, receiver) = mpsc::channel(node.limits.queue.max(1));
        let (flushes, flushed) = mpsc::channel(1);
        let task = Carrying {
            link: node.link.clone(),
            receiver,
            flushes: flushed,
            limit: frame_limit(message, frame::MAX_MESSAGES),
            counters: node.counters.clone(),
            incarnation: node.incarnation,
            sequence: 0,
        };
        let closed = node.closed.clone();
        node.tasks.spawn(async move { closed.run_until_cancelled(task.run()).await.unwrap_or_default() });
        Self { queue, flushes }
    }

    /// Hands over an event if there is room; gives it back if not.
    #[inline]
    pub(crate) fn try_hand_over(&self, envelope: Envelope) -> Result<(), Box<Envelope>> {
        self.queue.try_send(envelope).map_err(|error| Box::new(error.into_inner()))
    }

    /// Hands over an event; an error says that there was no room in time.
    pub(crate) async fn hand_over(&self, envelope: Envelope, timeout: Duration) -> Result<(), Error> {
        match self.queue.send_timeout(envelope, timeout).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(Error::shutting_down()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(full()),
        }
    }

    /// Waits until everything that was handed over before has left.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.flushes.send(done).await.is_ok() {
            // An error means that the lane is gone, and with it everything in it.
            drop(flushed.await);
        }
    }
}

pub(super) fn full() -> Error {
    Error::not_started(
        ErrorKind::Overloaded,
        "the queue of this event type is full: it is published faster than it can leave",
    )
}

/// The most messages of this type that share a frame.
pub(super) fn frame_limit(message: MessageInfo, default: usize) -> usize {
    match message.frame {
        0 => default,
        frame => frame.min(frame::MAX_MESSAGES),
    }
}

/// The task's state.
struct Carrying {
    link: Arc<dyn Link>,
    receiver: mpsc::Receiver<Envelope>,
    flushes: mpsc::Receiver<oneshot::Sender<()>>,
    /// The most messages of a frame.
    limit: usize,
    counters: Arc<Counters>,
    incarnation: u64,
    /// The number of the latest event.
    sequence: u64,
}

impl Carrying {
    /// Carries what comes until nobody is left who could hand anything over.
    async fn run(mut self) {
        let (mut batch, mut flushes) = (Vec::new(), Vec::new());
        loop {
            tokio::select! {
                biased;
                count = self.receiver.recv_many(&mut batch, self.limit) => match count {
                    0 => return,
                    // As many as came now come next: growing step by step would move each several times.
                    count => self.leave(mem::replace(&mut batch, Vec::with_capacity(count))).await,
                },
                Some(done) = self.flushes.recv() => flushes.push(done),
            }
            // Who waits for a flush handed over before.
            if self.receiver.is_empty() {
                for done in flushes.drain(..) {
                    let _ = done.send(());
                }
            }
        }
    }

    async fn leave(&mut self, mut batch: Vec<Envelope>) {
        let mut bytes = 0;
        for envelope in &mut batch {
            self.sequence += 1;
            (envelope.sequence, envelope.incarnation) = (self.sequence, self.incarnation);
            bytes += envelope.size();
        }
        if bytes <= frame::MAX_TOGETHER {
            return self.publish(batch).await;
        }
        let mut rest = batch.into_iter().peekable();
        while rest.peek().is_some() {
            self.publish(frame::take(&mut rest, self.limit, frame::MAX_TOGETHER, Envelope::size)).await;
        }
    }

    async fn publish(&self, batch: Vec<Envelope>) {
        let count = batch.len();
        if let Err(error) = self.link.publish(batch).await {
            self.counters.drop_events(count as u64, "the transport could not take them");
            tracing::debug!(target: "catga::delivery", %error, count, "events of QoS 0 were dropped");
        }
    }
}
