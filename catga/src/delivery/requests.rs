//! The task that sends this node's requests to other nodes and brings their replies back.
//!
//! It owns the table of callers that wait, so there is no shared map. What waits for it leaves together, one frame a
//! node.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::{lane::gather, node::Node};
use crate::{
    envelope::{Envelope, Reply},
    error::{Error, ErrorKind, Outcome},
    frame::{self, MAX_MESSAGES, MAX_TOGETHER},
    transport::Overflow,
};

/// How often the table is searched for callers that have gone, at least.
const SWEEP: Duration = Duration::from_secs(1);

/// A request on its way to another node.
pub(crate) struct Ask {
    pub(crate) node: Arc<str>,
    /// With its request part; the token is filled in here.
    pub(crate) envelope: Envelope,
    pub(crate) answer: oneshot::Sender<Result<Bytes, Error>>,
}

/// The task's state.
pub(crate) struct Requests {
    node: Arc<Node>,
    asks: mpsc::Receiver<Ask>,
    replies: mpsc::Receiver<Reply>,
    overflow: Arc<Overflow>,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

/// A place for a caller that waits; the generation tells it from its predecessors.
#[derive(Default)]
struct Slot {
    generation: u32,
    answer: Option<oneshot::Sender<Result<Bytes, Error>>>,
}

impl Requests {
    pub(crate) fn new(
        node: Arc<Node>,
        asks: mpsc::Receiver<Ask>,
        replies: mpsc::Receiver<Reply>,
        overflow: Arc<Overflow>,
    ) -> Self {
        Self { node, asks, replies, overflow, slots: Vec::new(), free: Vec::new() }
    }

    /// Serves until every caller and the inbox are gone.
    pub(crate) async fn run(mut self) {
        // A timer that is due before those of the callers: otherwise each of theirs would wake the driver of the runtime.
        let period = SWEEP.min(self.node.limits.probe_after / 2).max(Duration::from_millis(1));
        let mut sweep = tokio::time::interval(period);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The replies to what leaves together find room together.
        let most = MAX_MESSAGES.min(self.node.limits.queue.max(1));
        let (mut asks, mut replies) = (Vec::new(), Vec::new());
        loop {
            tokio::select! {
                biased;
                _ = sweep.tick(), if self.free.len() < self.slots.len() => self.sweep(),
                count = self.replies.recv_many(&mut replies, MAX_MESSAGES) => match count {
                    // What waits is told why: this node has left, or lost its place.
                    0 => return self.node.lose_its_place().await,
                    _ => {
                        replies.drain(..).for_each(|reply| self.complete(reply));
                        // A queue that was full is read again afterwards: whatever overflows is counted in the end.
                        self.node.counters.lost_replies(self.overflow.replies.swap(0, Ordering::Relaxed));
                    }
                },
                count = self.asks.recv_many(&mut asks, most) => match count {
                    0 => return,
                    _ => {
                        if self.free.len() < self.slots.len() {
                            gather(&mut self.asks, &mut asks, most).await;
                        }
                        self.send(&mut asks).await;
                    }
                },
            }
        }
    }

    async fn send(&mut self, asks: &mut Vec<Ask>) {
        let mut batches: BTreeMap<Arc<str>, Vec<Envelope>> = BTreeMap::new();
        for mut ask in asks.drain(..) {
            if let Some(request) = &mut ask.envelope.request {
                request.token = self.open(ask.answer);
                batches.entry(ask.node).or_default().push(ask.envelope);
            }
        }
        for (node, envelopes) in batches {
            let mut rest = envelopes.into_iter().peekable();
            while rest.peek().is_some() {
                self.send_frame(&node, frame::take(&mut rest, MAX_MESSAGES, MAX_TOGETHER, Envelope::size)).await;
            }
        }
    }

    async fn send_frame(&mut self, node: &str, batch: Vec<Envelope>) {
        let tokens: Vec<_> = batch.iter().filter_map(|envelope| Some(envelope.request.as_ref()?.token)).collect();
        if let Err(error) = self.node.link.request(node, batch).await {
            let error = error.with_outcome(Outcome::NotStarted);
            for token in tokens {
                self.complete(Reply::new(token, Err(error.duplicate())));
            }
        }
    }

    fn open(&mut self, answer: oneshot::Sender<Result<Bytes, Error>>) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            // More callers than fit into memory would be needed for this to wrap.
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.answer = Some(answer);
        (u64::from(slot.generation) << 32) | u64::from(index)
    }

    fn complete(&mut self, reply: Reply) {
        let (generation, index) = ((reply.token >> 32) as u32, reply.token as u32);
        let slot = self.slots.get_mut(index as usize).filter(|slot| slot.generation == generation);
        let answer = slot.and_then(|slot| slot.answer.take());
        if answer.is_some() {
            self.free.push(index);
        }
        // Nobody waits: the caller has given up, or had its answer already.
        if answer.is_none_or(|answer| answer.send(reply.result).is_err()) {
            self.node.counters.late_replies(1);
        }
    }

    /// Frees the places of callers that have gone.
    fn sweep(&mut self) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.answer.as_ref().is_some_and(oneshot::Sender::is_closed) {
                slot.answer = None;
                self.free.push(index as u32);
            }
        }
    }
}

/// What a caller is told whose node ends before it has an answer.
pub(crate) fn abandoned(node: &Node) -> Error {
    if node.is_replaced() {
        return node.why_closed().with_outcome(Outcome::Unknown);
    }
    Error::unknown(ErrorKind::ShuttingDown, "this node ended before the reply came")
}
