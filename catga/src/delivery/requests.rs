//! The task that sends this node's requests to other nodes and brings their replies back.
//!
//! It owns the table of callers that wait, so there is no shared map. What waits for it leaves together, one frame a
//! node.
//!
//! What is handed over is taken up at once, whether or not it can leave: who waits for a reply has no timer, and is told by
//! this task that the reply is late, or that the request never left.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{StreamExt, stream::BoxStream};
use tokio::{sync::mpsc, time::Instant};

use super::{
    asks::{Ask, AsksReceiver, Heard, LONE, turn},
    gather::gather,
    node::Node,
};
use crate::{
    envelope::{Envelope, Reply},
    error::{Error, ErrorKind, Outcome},
    frame::{self, MAX_MESSAGES, MAX_TOGETHER},
    transport::Link,
    waiting::{Waiting, looks},
};

/// The most places for callers that the table keeps when nobody waits.
const KEPT: usize = 1_024;

/// The task's state.
pub(crate) struct Requests {
    node: Arc<Node>,
    asks: mpsc::Receiver<Ask>,
    lone_asks: mpsc::Receiver<(u64, Waiting<Heard>)>,
    replies: BoxStream<'static, Vec<Reply>>,
    lost_replies: Arc<AtomicU64>,
    /// What was taken up and has not left.
    held: VecDeque<Ask>,
    table: Table,
    /// The one that sends by itself, with its token.
    lone: Option<(u64, Waiting<Heard>)>,
    /// Whether anything was sent or came since the table was searched.
    busy: bool,
    /// Whether it looks who has waited long enough: not where nobody waits, and nobody may send by itself.
    awake: bool,
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
        let AsksReceiver { queue: asks, lone: lone_asks } = asks;
        let (held, table) = (VecDeque::new(), Table::default());
        Self { node, asks, lone_asks, replies, lost_replies, held, table, lone: None, busy: false, awake: false }
    }

    /// Serves until the node has left its transport.
    pub(crate) async fn run(mut self) {
        let mut looks = looks(self.node.limits.probe_after);
        // The replies to what leaves together find room together.
        let most = MAX_MESSAGES.min(self.node.limits.queue.max(1));
        let mut asks = Vec::new();
        let mut leaving: Option<Leaving> = None;
        loop {
            tokio::select! {
                biased;
                _ = looks.tick(), if self.awake => self.look(),
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
                        self.let_the_next_go_alone();
                    }
                },
                // It has no end: the node of this task can send.
                _ = self.asks.recv_many(&mut asks, most) => {
                    (self.awake, self.busy) = (true, true);
                    if leaving.is_none() && self.somebody_waits() {
                        gather(&mut self.asks, &mut asks, most).await;
                    }
                    self.held.extend(asks.drain(..));
                }
            }
            if leaving.is_none() && !self.held.is_empty() {
                leaving = Some(Box::pin(leave(self.node.link.clone(), self.frames(most))));
            }
        }
    }

    fn somebody_waits(&self) -> bool {
        self.lone.is_some() || self.table.somebody_waits()
    }

    /// Lets the next caller send by itself, if nobody waits.
    fn let_the_next_go_alone(&mut self) {
        if !self.somebody_waits() && self.node.asks.swap(turn::CLOSED, turn::OPEN) {
            self.awake = true;
        }
    }

    fn meet_the_lone(&mut self) {
        if self.node.asks.turn.load(Ordering::Acquire) == turn::TAKEN
            && let Ok(lone) = self.lone_asks.try_recv()
        {
            self.lone = Some(lone);
            self.node.asks.turn.store(turn::CLOSED, Ordering::Release);
        }
    }

    /// What leaves together, by node: at most so many requests.
    fn frames(&mut self, most: usize) -> Vec<(Arc<str>, Vec<Envelope>)> {
        let mut batches: BTreeMap<Arc<str>, Vec<Envelope>> = BTreeMap::new();
        let (now, probe_after) = (Instant::now(), self.node.limits.probe_after);
        let leave = self.held.len().min(most);
        for Ask { node, mut envelope, deadline, mut waiting } in self.held.drain(..leave) {
            if deadline <= now {
                waiting.tell(Heard::NotSent);
            }
            if let Some(request) = &mut envelope.request
                && !waiting.is_over()
            {
                waiting.until = waiting.until.map(|_| deadline.min(now + probe_after));
                request.token = self.table.open(waiting);
                request.remaining_ms = millis(deadline.saturating_duration_since(now));
                batches.entry(node).or_default().push(envelope);
            }
        }
        self.node.asks.places.free(leave);
        let mut frames = Vec::with_capacity(batches.len());
        for (node, envelopes) in batches {
            let mut rest = envelopes.into_iter().peekable();
            while rest.peek().is_some() {
                frames.push((node.clone(), frame::take(&mut rest, MAX_MESSAGES, MAX_TOGETHER, Envelope::size)));
            }
        }
        frames
    }

    fn complete(&mut self, reply: Reply) {
        let waiting = match reply.token & LONE {
            0 => self.table.close(reply.token),
            _ => self.lone.take_if(|(token, _)| *token == reply.token).map(|(_, waiting)| waiting),
        };
        // Nobody waits: the caller has given up, or had its answer already.
        if !waiting.is_some_and(|mut waiting| waiting.tell(Heard::Reply(reply.result))) {
            self.node.counters.late_replies(1);
        }
    }

    /// Lets go of callers that have gone, and tells those who have waited long enough.
    fn look(&mut self) {
        self.meet_the_lone();
        let (now, before) = (Instant::now(), self.held.len());
        self.held.retain_mut(|ask| {
            let late = ask.deadline <= now;
            if late {
                ask.waiting.tell(Heard::NotSent);
            }
            !late && !ask.waiting.is_over()
        });
        self.node.asks.places.free(before - self.held.len());
        self.lone.take_if(|(_, waiting)| !goes_on(waiting, now));
        self.table.look(now);
        self.let_the_next_go_alone();
        // Where it is quiet the task sleeps; not if a caller sends by itself just now.
        if !std::mem::take(&mut self.busy) && self.held.is_empty() && !self.somebody_waits() {
            self.awake = !self.node.asks.swap(turn::OPEN, turn::CLOSED);
        }
    }
}

/// Tells a caller that has waited long enough; says whether it waits on.
fn goes_on(waiting: &mut Waiting<Heard>, now: Instant) -> bool {
    if waiting.is_late(now) {
        // From now on it has timers of its own.
        let (on, further) = Waiting::new(None);
        return std::mem::replace(waiting, on).tell(Heard::Silence(further));
    }
    !waiting.is_over()
}

/// The callers that wait for a reply.
#[derive(Default)]
struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Of the latest caller.
    generation: u32,
}

/// A place for a caller that waits; the generation tells it from its predecessors.
#[derive(Default)]
struct Slot {
    generation: u32,
    waiting: Option<Waiting<Heard>>,
}

impl Table {
    fn somebody_waits(&self) -> bool {
        self.free.len() < self.slots.len()
    }

    /// Takes a caller in; gives its token.
    fn open(&mut self, waiting: Waiting<Heard>) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            // More callers than fit into memory would be needed for this to wrap.
            (self.slots.len() - 1) as u32
        });
        self.generation = (self.generation + 1) & (u32::MAX >> 1);
        self.slots[index as usize] = Slot { generation: self.generation, waiting: Some(waiting) };
        u64::from(self.generation) << 32 | u64::from(index)
    }

    /// Gives the caller of this token back, if it is still here.
    fn close(&mut self, token: u64) -> Option<Waiting<Heard>> {
        let (generation, index) = ((token >> 32) as u32, token as u32);
        let slot = self.slots.get_mut(index as usize).filter(|slot| slot.generation == generation)?;
        let waiting = slot.waiting.take()?;
        self.free.push(index);
        Some(waiting)
    }

    fn look(&mut self, now: Instant) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Some(waiting) = &mut slot.waiting
                && !goes_on(waiting, now)
            {
                slot.waiting = None;
                self.free.push(index as u32);
            }
        }
        if !self.somebody_waits() && self.slots.len() > KEPT {
            // What a burst took is given back.
            (self.slots, self.free) = (Vec::new(), Vec::new());
        }
    }
}

/// So many milliseconds; as many as there can be for more.
pub(super) fn millis(left: std::time::Duration) -> u64 {
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
}

/// Sends frames; gives the requests that could not leave.
async fn leave(link: Arc<dyn Link>, frames: Vec<(Arc<str>, Vec<Envelope>)>) -> Vec<(u64, Error)> {
    let mut refused = Vec::new();
    for (node, batch) in frames {
        let tokens: Vec<_> = batch.iter().map(Envelope::token).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_reply_finds_nobody_else_even_after_the_table_was_given_back() {
        let mut table = Table::default();
        let (waiting, callers): (Vec<_>, Vec<_>) = (0..KEPT + 1).map(|_| Waiting::new(None)).unzip();
        let tokens: Vec<_> = waiting.into_iter().map(|waiting| table.open(waiting)).collect();
        assert!(table.somebody_waits() && tokens.iter().all(|token| token & LONE == 0));
        drop(callers);
        table.look(Instant::now());
        assert!(!table.somebody_waits() && table.slots.is_empty());
        let (waiting, _caller) = Waiting::new(None);
        let token = table.open(waiting);
        assert!(tokens.into_iter().all(|late| table.close(late).is_none()));
        assert!(table.close(token).is_some() && table.close(token).is_none());
    }
}
