//! The task that sends this node's requests to other nodes and brings their replies back.
//!
//! It owns the table of callers that wait, so there is no shared map. What waits for it leaves together, one frame a
//! node. A caller that finds nothing under way sends by itself, and tells the task what it waits for: each task that a request
//! does not pass is one less to be woken.
//!
//! No caller has a timer for the time after which a node that does not answer is probed. The task goes through its table now
//! and then instead, and tells those who wait too long.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{lane::gather, node::Node};
use crate::{
    envelope::{Envelope, Reply},
    error::{Error, ErrorKind, Outcome},
    frame::{self, MAX_MESSAGES, MAX_TOGETHER},
    transport::Link,
};

/// The table is searched for callers that have gone or wait too long at this part of the time after which a node is probed,
/// and so often at least.
const SWEEPS: u32 = 8;
const SWEEP: Duration = Duration::from_secs(1);

/// Marks the token of a caller that sends by itself.
const ALONE: u64 = 1 << 63;

/// A request on its way to another node.
pub(crate) struct Ask {
    pub(crate) node: Arc<str>,
    /// With its request part; the token is filled in here.
    pub(crate) envelope: Envelope,
    pub(crate) waiting: Waiting,
}

/// What a caller hears.
pub(crate) enum Heard {
    Reply(Result<Bytes, Error>),
    /// Nothing for too long; it goes on listening here.
    Silence(oneshot::Receiver<Heard>),
}

/// A caller that waits.
pub(crate) struct Waiting {
    answer: oneshot::Sender<Heard>,
    /// When it wants to know that there was no reply yet.
    silent_at: Option<Instant>,
}

impl Waiting {
    pub(crate) fn new(silent_at: Option<Instant>) -> (Self, oneshot::Receiver<Heard>) {
        let (answer, heard) = oneshot::channel();
        (Self { answer, silent_at }, heard)
    }

    /// Answers; says whether anybody still waited.
    pub(crate) fn answer(self, result: Result<Bytes, Error>) -> bool {
        self.answer.send(Heard::Reply(result)).is_ok()
    }

    /// Tells a caller that has waited long enough; says whether it waits on.
    fn goes_on(&mut self, now: Instant) -> bool {
        if self.silent_at.is_some_and(|at| at <= now) {
            let (on, further) = Self::new(None);
            let told = std::mem::replace(self, on).answer.send(Heard::Silence(further));
            return told.is_ok();
        }
        !self.answer.is_closed()
    }
}

/// The callers' side of the task.
pub(crate) struct Asks {
    pub(crate) queue: mpsc::Sender<Ask>,
    /// Who sends by itself, with its token. The task looks here when a reply comes, and is not woken.
    alone: mpsc::Sender<(u64, Waiting)>,
    /// Whether nothing is under way, and the task will look.
    open: AtomicBool,
}

/// The task's side.
pub(crate) struct AsksReceiver {
    queue: mpsc::Receiver<Ask>,
    alone: mpsc::Receiver<(u64, Waiting)>,
}

impl Asks {
    pub(crate) fn new(queue: usize) -> (Self, AsksReceiver) {
        let (queue, asks) = mpsc::channel(queue.max(1));
        let (alone, waiting) = mpsc::channel(1);
        (Self { queue, alone, open: AtomicBool::new(false) }, AsksReceiver { queue: asks, alone: waiting })
    }

    /// Lets a caller send this request by itself if nothing is under way; otherwise gives back what waits for the reply.
    pub(crate) fn alone(&self, envelope: &mut Envelope, waiting: Waiting) -> Result<(), Waiting> {
        // Nearly always somebody else is under way, and looking costs less than trying.
        if !self.open.load(Ordering::Relaxed) || !self.open.swap(false, Ordering::Acquire) {
            return Err(waiting);
        }
        // An id differs from the others of this node in its last bits.
        let token = envelope.id.as_u128() as u64 | ALONE;
        match (&mut envelope.request, self.alone.try_reserve()) {
            (Some(request), Ok(room)) => {
                request.token = token;
                room.send((token, waiting));
                Ok(())
            }
            _ => Err(waiting),
        }
    }
}

/// The task's state.
pub(crate) struct Requests {
    node: Arc<Node>,
    asks: mpsc::Receiver<Ask>,
    alone: mpsc::Receiver<(u64, Waiting)>,
    replies: BoxStream<'static, Vec<Reply>>,
    lost_replies: Arc<AtomicU64>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The one that sends by itself, with its token.
    lone: Option<(u64, Waiting)>,
    /// Whether anything was sent or came since the table was searched.
    busy: bool,
}

/// A place for a caller that waits; the generation tells it from its predecessors.
#[derive(Default)]
struct Slot {
    generation: u32,
    waiting: Option<Waiting>,
}

/// Frames that leave one after the other; gives the requests that could not.
type Leaving = Pin<Box<dyn Future<Output = Vec<(u64, Error)>> + Send>>;

impl Requests {
    pub(crate) fn new(
        node: Arc<Node>,
        asks: AsksReceiver,
        replies: BoxStream<'static, Vec<Reply>>,
        lost_replies: Arc<AtomicU64>,
    ) -> Self {
        let AsksReceiver { queue, alone } = asks;
        let (slots, free) = (Vec::new(), Vec::new());
        Self { node, asks: queue, alone, replies, lost_replies, slots, free, lone: None, busy: false }
    }

    /// Serves until every caller and the inbox are gone.
    pub(crate) async fn run(mut self) {
        let period = SWEEP.min(self.node.limits.probe_after / SWEEPS).max(Duration::from_millis(1));
        let mut sweep = tokio::time::interval(period);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The replies to what leaves together find room together.
        let most = MAX_MESSAGES.min(self.node.limits.queue.max(1));
        let mut asks = Vec::new();
        // Whether the table has to be searched: nobody waits otherwise, and nobody sends by itself.
        let mut awake = false;
        let mut leaving: Option<Leaving> = None;
        loop {
            tokio::select! {
                biased;
                _ = sweep.tick(), if awake => awake = self.sweep(),
                refused = all_left(&mut leaving), if leaving.is_some() => {
                    leaving = None;
                    for (token, error) in refused {
                        self.complete(Reply::new(token, Err(error)));
                    }
                }
                came = self.replies.next() => match came {
                    // What waits is told why: this node has left, or lost its place.
                    None => return self.node.lose_its_place().await,
                    Some(replies) => {
                        self.busy = true;
                        self.meet_the_lone();
                        replies.into_iter().for_each(|reply| self.complete(reply));
                        // A queue that was full is read again afterwards: whatever overflows is counted in the end.
                        self.node.counters.lost_replies(self.lost_replies.swap(0, Ordering::Relaxed));
                        self.let_the_next_send();
                    }
                },
                count = self.asks.recv_many(&mut asks, most), if leaving.is_none() => match count {
                    0 => return,
                    _ => {
                        (awake, self.busy) = (true, true);
                        if self.somebody_waits() {
                            gather(&mut self.asks, &mut asks, most).await;
                        }
                        leaving = Some(Box::pin(leave(self.node.link.clone(), self.frames(&mut asks))));
                    }
                },
            }
        }
    }

    fn somebody_waits(&self) -> bool {
        self.lone.is_some() || self.free.len() < self.slots.len()
    }

    /// Lets the next caller send by itself, if nobody waits.
    fn let_the_next_send(&self) {
        if !self.somebody_waits() && !self.node.asks.open.load(Ordering::Relaxed) {
            self.node.asks.open.store(true, Ordering::Release);
        }
    }

    fn meet_the_lone(&mut self) {
        if let Ok(lone) = self.alone.try_recv() {
            self.lone = Some(lone);
        }
    }

    /// What leaves together, by node.
    fn frames(&mut self, asks: &mut Vec<Ask>) -> Vec<(Arc<str>, Vec<Envelope>)> {
        let mut batches: BTreeMap<Arc<str>, Vec<Envelope>> = BTreeMap::new();
        for mut ask in asks.drain(..) {
            if let Some(request) = &mut ask.envelope.request {
                request.token = self.open(ask.waiting);
                batches.entry(ask.node).or_default().push(ask.envelope);
            }
        }
        let mut frames = Vec::with_capacity(batches.len());
        for (node, envelopes) in batches {
            let mut rest = envelopes.into_iter().peekable();
            while rest.peek().is_some() {
                frames.push((node.clone(), frame::take(&mut rest, MAX_MESSAGES, MAX_TOGETHER, Envelope::size)));
            }
        }
        frames
    }

    fn open(&mut self, waiting: Waiting) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            // More callers than fit into memory would be needed for this to wrap.
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.waiting = Some(waiting);
        (u64::from(slot.generation) << 32 | u64::from(index)) & !ALONE
    }

    fn complete(&mut self, reply: Reply) {
        let waiting = match reply.token & ALONE {
            0 => {
                let (generation, index) = ((reply.token >> 32) as u32, reply.token as u32);
                let is_its = |slot: &&mut Slot| slot.generation & !(1 << 31) == generation;
                let waiting = self.slots.get_mut(index as usize).filter(is_its).and_then(|slot| slot.waiting.take());
                if waiting.is_some() {
                    self.free.push(index);
                }
                waiting
            }
            _ => self.lone.take_if(|(token, _)| *token == reply.token).map(|(_, waiting)| waiting),
        };
        // Nobody waits: the caller has given up, or had its answer already.
        if !waiting.is_some_and(|waiting| waiting.answer(reply.result)) {
            self.node.counters.late_replies(1);
        }
    }

    /// Frees the places of callers that have gone, and tells those who wait too long. Says whether the table has to be
    /// searched again.
    fn sweep(&mut self) -> bool {
        self.meet_the_lone();
        let now = Instant::now();
        if let Some((_, waiting)) = &mut self.lone
            && !waiting.goes_on(now)
        {
            self.lone = None;
        }
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Some(waiting) = &mut slot.waiting
                && !waiting.goes_on(now)
            {
                slot.waiting = None;
                self.free.push(index as u32);
            }
        }
        self.let_the_next_send();
        // Where it is quiet the task sleeps; if a caller sends by itself just now, it does not.
        std::mem::take(&mut self.busy) || self.somebody_waits() || !self.node.asks.open.swap(false, Ordering::AcqRel)
    }
}

/// Sends frames; gives the requests that could not leave.
async fn leave(link: Arc<dyn Link>, frames: Vec<(Arc<str>, Vec<Envelope>)>) -> Vec<(u64, Error)> {
    let mut refused = Vec::new();
    for (node, batch) in frames {
        let tokens: Vec<_> = batch.iter().filter_map(|envelope| Some(envelope.request.as_ref()?.token)).collect();
        if let Err(error) = link.request(&node, batch).await {
            let error = error.with_outcome(Outcome::NotStarted);
            refused.extend(tokens.into_iter().map(|token| (token, error.duplicate())));
        }
    }
    refused
}

async fn all_left(leaving: &mut Option<Leaving>) -> Vec<(u64, Error)> {
    match leaving {
        Some(leaving) => leaving.await,
        None => std::future::pending().await,
    }
}

/// What a caller is told whose node ends before it has an answer.
pub(crate) fn abandoned(node: &Node) -> Error {
    if node.is_replaced() {
        return node.why_closed().with_outcome(Outcome::Unknown);
    }
    Error::unknown(ErrorKind::ShuttingDown, "this node ended before the reply came")
}
