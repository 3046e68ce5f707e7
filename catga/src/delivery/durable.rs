//! The task behind a durable: takes deliveries of reliable events, runs their handlers, settles them.
//!
//! 1. Each message of a delivery is run once by each of its handlers.
//! 2. What did not succeed is stored again, alone, for this durable: with the handler that remains, the number of its next
//!    run and a delay; or it becomes a dead letter. Both are confirmed by the store.
//! 3. Then, and only then, the delivery is acknowledged.
//! 4. A delivery of several messages that is made again is first taken apart: 2 and 3 for what is not known to be done. So
//!    a message that kills its process is alone when it reaches its limit.
//!
//! The task owns everything that it knows of its deliveries; nothing of it survives a restart.

use std::{collections::VecDeque, sync::Arc, task::Poll, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::mpsc;

use super::{
    node::Node,
    observe::Occurrence,
    recent::Recent,
    table::HandlerEntry,
    unfinished::Grave,
    work::{RunResult, Work},
};
use crate::{
    dead_letter::DeadContent,
    envelope::Envelope,
    error::{Error, Failure},
    id::MessageId,
    middleware::gate::Entry,
    transport::{Consumed, Consumer, Delivery, Durable, Settle, Settlement},
};

/// How long a message waits in the store that arrives while the same one is being handled, or whose handler is full.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long the task waits at the end of the time to shut down for what was given up to be stored.
const GRACE: Duration = Duration::from_millis(500);

/// The task's state.
pub(crate) struct DurableTask {
    pub(super) node: Arc<Node>,
    pub(super) spec: Durable,
    /// The handlers that it serves, by the name of the event.
    handlers: FxHashMap<Arc<str>, Vec<Arc<HandlerEntry>>>,
    /// A number for each handler name, to remember it by.
    numbers: FxHashMap<Arc<str>, u16>,
    consumer: Box<dyn Consumer>,
    pub(super) open: FxHashMap<u64, Open>,
    /// The largest number of a delivery so far.
    highest: u64,
    /// Runs of open deliveries.
    in_flight: usize,
    /// What is being handled now.
    running: FxHashSet<(MessageId, u16)>,
    recent: Recent,
    done: mpsc::Receiver<Done>,
    report: mpsc::Sender<Done>,
    /// Stores under way, each of which gives the number of the delivery that waits for it.
    pub(super) stores: FuturesUnordered<BoxFuture<'static, u64>>,
}

/// A delivery that is not settled.
pub(super) struct Open {
    settle: Arc<dyn Settle>,
    /// Runs that it began with.
    work: usize,
    /// Runs that have not ended and stores that are not confirmed.
    pub(super) left: usize,
    /// The delivery is given back instead of acknowledged: nothing of it was started.
    give_back: bool,
}

/// A run that has ended.
struct Done {
    sequence: u64,
    handler: u16,
    work: Work,
    result: RunResult,
}

impl DurableTask {
    pub(crate) fn new(
        node: Arc<Node>,
        spec: Durable,
        handlers: Vec<Arc<HandlerEntry>>,
        consumer: Box<dyn Consumer>,
    ) -> Self {
        let (report, done) = mpsc::channel(node.limits.queue.max(1));
        let mut by_event: FxHashMap<Arc<str>, Vec<_>> = FxHashMap::default();
        let mut numbers = FxHashMap::default();
        for handler in handlers {
            let number = u16::try_from(numbers.len()).unwrap_or(u16::MAX);
            numbers.insert(handler.name.clone(), number);
            by_event.entry(handler.message.name.into()).or_default().push(handler);
        }
        Self {
            node,
            spec,
            handlers: by_event,
            numbers,
            consumer,
            open: FxHashMap::default(),
            highest: 0,
            in_flight: 0,
            running: FxHashSet::default(),
            recent: Recent::new(),
            done,
            report,
            stores: FuturesUnordered::new(),
        }
    }

    /// Works until the node stops, then lets what runs come to its end and gives back what was not started.
    pub(crate) async fn run(mut self) {
        let (stop, cancel) = (self.node.stop.clone(), self.node.cancel.clone());
        let renew = (self.spec.ack_wait / 3).max(Duration::from_millis(1));
        let mut leases = tokio::time::interval(renew);
        leases.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ended = VecDeque::new();
        let mut stopping = false;
        loop {
            let more = self.in_flight < self.node.limits.in_flight;
            if stop.is_cancelled() && !stopping {
                stopping = true;
                // What has arrived and was not taken goes to another node, or waits for the next start.
                for delivery in self.consumer.close().await {
                    settle_with(&self.spec.name, &delivery.settle, Settlement::GiveBack(Duration::ZERO)).await;
                }
            }
            if stopping && self.open.is_empty() {
                return;
            }
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                _ = self.done.recv_many(&mut batch, 64) => ended.extend(batch),
                Some(sequence) = self.stores.next(), if !self.stores.is_empty() => self.one_less(sequence).await,
                consumed = self.consumer.next(more), if !stopping => match consumed {
                    Some(Consumed::Delivery(delivery)) => self.take(delivery).await,
                    Some(Consumed::Lagged { missed }) => self.lag(missed),
                    None => stop.cancelled().await,
                },
                _ = leases.tick() => self.renew().await,
                () = stop.cancelled(), if !stopping => {}
                // Runs that are given up now report, and what they had is stored; that may take a moment, not longer.
                () = tokio::time::sleep(GRACE), if cancel.is_cancelled() => break,
            }
            while let Some(done) = ended.pop_front() {
                self.end(done).await;
            }
        }
        // The time to shut down is over: what is not settled goes back at once, for another node or the next start.
        for open in self.open.values() {
            settle_with(&self.spec.name, &open.settle, Settlement::GiveBack(Duration::ZERO)).await;
        }
    }

    fn lag(&self, missed: u64) {
        self.node.counters.lagged(missed);
        tracing::error!(
            target: "catga::delivery", durable = %self.spec.name, missed,
            "the durable fell behind what the store keeps: reliable events are gone for it"
        );
    }

    async fn renew(&mut self) {
        for open in self.open.values() {
            settle_with(&self.spec.name, &open.settle, Settlement::Progress).await;
        }
    }

    async fn take(&mut self, delivery: Delivery) {
        let Delivery { sequence, deliveries, messages, settle } = delivery;
        if let Some(open) = self.open.get_mut(&sequence) {
            // It is being worked on: only its settlement has a new address.
            open.settle = settle;
            return;
        }
        let messages = match messages {
            Ok(messages) => messages,
            Err((bytes, error)) => return self.take_unreadable(sequence, deliveries, bytes, &error, settle).await,
        };
        // A first delivery has a number beyond all before it, unless the transport doubled it or it had to wait.
        let again = deliveries > 1 || sequence <= self.highest;
        self.highest = self.highest.max(sequence);
        let apart = again && messages.len() > 1;
        // One more is counted until all of the delivery is under way.
        self.open.insert(sequence, Open { settle, work: 0, left: 1, give_back: false });
        for envelope in messages {
            let envelope = Arc::new(envelope);
            self.bury_for_the_missing(sequence, &envelope);
            for work in self.work_on(&envelope, again) {
                if let Some(open) = self.open.get_mut(&sequence) {
                    (open.work, open.left, self.in_flight) = (open.work + 1, open.left + 1, self.in_flight + 1);
                }
                if apart {
                    self.store_again(sequence, work, Duration::ZERO);
                } else if deliveries > self.node.limits.crash_limit {
                    let text =
                        format!("{deliveries} deliveries ended without an answer: the message may kill its process");
                    self.bury(sequence, work, Failure::new("crash_limit", text));
                } else if self.running.contains(&(envelope.id, self.number(&work.handler))) {
                    // The same message is being handled now, from another delivery: look again when that has ended.
                    self.store_again(sequence, work, LOOK_AGAIN);
                } else {
                    self.begin(sequence, work).await;
                    continue;
                }
                self.one_less(sequence).await;
            }
        }
        self.one_less(sequence).await;
    }

    /// What is left to be done with a message here.
    fn work_on(&self, envelope: &Arc<Envelope>, again: bool) -> Vec<Work> {
        let repeat = again || envelope.repeat;
        let handlers = self.handlers.get(&envelope.name).map_or(&[][..], Vec::as_slice);
        let mut work = Vec::new();
        for handler in handlers {
            let attempt = match &envelope.retry {
                None => 1,
                Some(retry) => match retry.handlers.iter().find(|(name, _)| **name == *handler.name) {
                    Some((_, attempt)) => *attempt,
                    None => continue,
                },
            };
            if repeat && self.recent.contains(envelope.id, self.number(handler)) {
                self.node.counters.duplicates(1);
                let duplicate = || Occurrence::Duplicate { handler: handler.name.clone() };
                self.node.observe(&envelope.name, envelope.id, duplicate);
                continue;
            }
            work.push(Work { handler: handler.clone(), envelope: envelope.clone(), attempt, repeat });
        }
        work
    }

    pub(super) fn has_handler(&self, event: &str, name: &str) -> bool {
        self.handlers.get(event).is_some_and(|handlers| handlers.iter().any(|handler| *handler.name == *name))
    }

    fn number(&self, handler: &HandlerEntry) -> u16 {
        self.numbers.get(&handler.name).copied().unwrap_or(u16::MAX)
    }

    /// Starts a run: in place if it is its turn and it is quick, else in a task.
    async fn begin(&mut self, sequence: u64, work: Work) {
        let number = self.number(&work.handler);
        self.running.insert((work.envelope.id, number));
        let node = self.node.clone();
        let report = self.report.clone();
        match work.handler.enter() {
            Entry::Now(permit) => match work.start(&node) {
                Ok(mut started) => match started.first().await {
                    Poll::Ready(result) => {
                        drop(permit);
                        let done = Done { sequence, handler: number, work, result: RunResult::Ended(result) };
                        Box::pin(self.end(done)).await;
                    }
                    Poll::Pending => node.tasks.clone().spawn(async move {
                        let result = work.finish(started, permit, &node).await;
                        drop(report.send(Done { sequence, handler: number, work, result }).await);
                    }),
                },
                Err(error) => {
                    drop(permit);
                    let done = Done { sequence, handler: number, work, result: RunResult::Ended(Err(error)) };
                    Box::pin(self.end(done)).await;
                }
            },
            Entry::Wait(turn) => node.tasks.clone().spawn(async move {
                let result = match turn.await {
                    Ok(permit) => match work.start(&node) {
                        Ok(started) => work.finish(started, permit, &node).await,
                        Err(error) => RunResult::Ended(Err(error)),
                    },
                    Err(_) => RunResult::NotStarted,
                };
                drop(report.send(Done { sequence, handler: number, work, result }).await);
            }),
            // The queue of the handler is full of other work: the message waits in the store.
            Entry::Full => {
                self.running.remove(&(work.envelope.id, number));
                self.store_again(sequence, work, LOOK_AGAIN);
                self.one_less(sequence).await;
            }
        }
    }

    /// Takes note of a run that has ended.
    async fn end(&mut self, done: Done) {
        let Done { sequence, handler, work, result } = done;
        self.running.remove(&(work.envelope.id, handler));
        let (name, id) = (work.envelope.name.clone(), work.envelope.id);
        match result {
            RunResult::Ended(Ok(())) => {
                self.recent.insert(id, handler);
                let handled = || Occurrence::Handled { handler: work.handler.name.clone(), attempt: work.attempt };
                self.node.observe(&name, id, handled);
            }
            RunResult::Ended(Err(error)) => {
                self.node.observe(&name, id, || Occurrence::Failed {
                    handler: work.handler.name.clone(),
                    attempt: work.attempt,
                    failure: error.failure.clone(),
                });
                self.fail(sequence, work, error);
            }
            RunResult::NotStarted => match self.open.get_mut(&sequence) {
                // Alone in its delivery, it goes back as it is; else it is stored for whoever comes.
                Some(open) if open.work == 1 => open.give_back = true,
                _ => self.store_again(sequence, work, Duration::ZERO),
            },
        }
        self.one_less(sequence).await;
    }

    async fn take_unreadable(
        &mut self,
        sequence: u64,
        deliveries: u32,
        bytes: bytes::Bytes,
        error: &Error,
        settle: Arc<dyn Settle>,
    ) {
        let policy = crate::middleware::retry::RetryPolicy {
            attempts: self.node.limits.event_attempts,
            base: self.node.limits.backoff,
        };
        if deliveries < policy.attempts {
            // Another member may be newer and read it.
            return settle_with(&self.spec.name, &settle, Settlement::GiveBack(policy.jittered(deliveries))).await;
        }
        tracing::error!(target: "catga::delivery", %error, durable = %self.spec.name, "a delivery cannot be read: it becomes a dead letter");
        self.in_flight += 1;
        self.open.insert(sequence, Open { settle, work: 1, left: 1, give_back: false });
        let failure = Failure::new("codec", error.to_string());
        let content = DeadContent::Unreadable(bytes);
        let grave = Grave { handler: None, attempts: deliveries, replays: 0, failure, content };
        self.store_dead(sequence, u128::from(sequence), grave);
        self.one_less(sequence).await;
    }

    /// One run or store of a delivery has ended; the last one settles it.
    async fn one_less(&mut self, sequence: u64) {
        let Some(open) = self.open.get_mut(&sequence) else { return };
        open.left -= 1;
        if open.left > 0 {
            return;
        }
        let Some(open) = self.open.remove(&sequence) else { return };
        self.in_flight -= open.work;
        let settlement = match open.give_back {
            true => Settlement::GiveBack(Duration::ZERO),
            false => Settlement::Acknowledge,
        };
        settle_with(&self.spec.name, &open.settle, settlement).await;
    }
}

/// A settlement that is lost leads to another delivery: nothing is repeated here. Takes no `self`, which other threads
/// must not see while the future waits.
async fn settle_with(durable: &Arc<str>, settle: &Arc<dyn Settle>, settlement: Settlement) {
    if let Err(error) = settle.settle(settlement).await {
        tracing::debug!(target: "catga::delivery", %error, %durable, "a settlement was lost");
    }
}
