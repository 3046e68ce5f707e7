//! The task behind a durable: takes deliveries of reliable events, runs their handlers, settles them.
//!
//! 1. Each message of a delivery is run once by each of its handlers.
//! 2. What did not succeed is stored again, alone, for this durable: with the handler that remains, the number of its next
//!    run and a delay; or it becomes a dead letter. Both are confirmed by the store.
//! 3. Then, and only then, the delivery is acknowledged.
//! 4. A delivery that is made again ended without an answer: 2 and 3 for what is not known to be done, with the count of
//!    such ends. A message with several of them runs alone, so that one which kills its process takes no other with it.
//!
//! The task owns everything that it knows of its deliveries; nothing of it survives a restart.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    node::Node,
    observe::Occurrence,
    recent::Recent,
    round::Round,
    runs::{Done, Held, LOOK_AGAIN},
    suspects::Suspects,
    table::HandlerEntry,
    unfinished::Stored,
    work::Work,
};
use crate::{
    envelope::Envelope,
    error::Error,
    id::MessageId,
    middleware::retry::RetryPolicy,
    transport::{Consumed, Consumer, Delivery, Durable, Settle, Settlement},
};

/// How long the task waits at the end of the time to shut down for what was given up to be stored.
const GRACE: Duration = Duration::from_millis(500);

/// The task's state.
pub(crate) struct DurableTask {
    pub(super) node: Arc<Node>,
    pub(super) spec: Durable,
    /// The handlers that it serves, by the name of the event, each with a number to remember it by.
    handlers: FxHashMap<Arc<str>, Vec<(u16, Arc<HandlerEntry>)>>,
    consumer: Box<dyn Consumer>,
    pub(super) open: FxHashMap<u64, Open>,
    /// The largest number of a delivery so far.
    highest: u64,
    /// Runs of open deliveries.
    pub(super) in_flight: usize,
    /// What is being handled in tasks now, or held.
    pub(super) running: FxHashSet<(MessageId, u16)>,
    /// What waits here for room in the queue of its handler.
    pub(super) held: Held,
    /// What was handled lately, by which handler.
    pub(super) recent: Recent<(MessageId, u16)>,
    /// Deliveries that were acknowledged lately: number and first message.
    settled: Recent<(u64, MessageId)>,
    pub(super) suspects: Suspects,
    done: mpsc::Receiver<Done>,
    pub(super) report: mpsc::Sender<Done>,
    /// What is being started at a time.
    pub(super) round: Round,
    /// Stores under way, for each of which a delivery waits.
    pub(super) stores: FuturesUnordered<BoxFuture<'static, Stored>>,
    /// The end of the last of them, for the next one to wait for when the node stops.
    pub(super) last_store: Option<oneshot::Receiver<()>>,
}

/// A delivery that is not settled.
pub(super) struct Open {
    /// The id of its first message: a store that was made anew counts from 1 again.
    pub(super) first: MessageId,
    pub(super) settle: Arc<dyn Settle>,
    /// Runs that it began with.
    pub(super) work: usize,
    /// Runs that have not ended and stores that are not confirmed.
    pub(super) left: usize,
    /// The delivery is given back after so long instead of acknowledged: something of it was neither done nor stored.
    pub(super) give_back: Option<Duration>,
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
        for (number, handler) in handlers.into_iter().enumerate() {
            let number = u16::try_from(number).unwrap_or(u16::MAX);
            by_event.entry(handler.message.name.into()).or_default().push((number, handler));
        }
        Self {
            node,
            spec,
            handlers: by_event,
            consumer,
            open: FxHashMap::default(),
            highest: 0,
            in_flight: 0,
            running: FxHashSet::default(),
            held: Held::default(),
            recent: Recent::new(),
            settled: Recent::new(),
            suspects: Suspects::default(),
            done,
            report,
            round: Round::start(),
            stores: FuturesUnordered::new(),
            last_store: None,
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
        let (mut grace, mut closed) = (None, false);
        loop {
            let more = self.has_room();
            if stop.is_cancelled() && !stopping {
                stopping = true;
                // What was not begun goes to another node, or waits for the next start: first what was taken, which came first.
                let rest = self.consumer.close().await;
                self.let_go().await;
                for delivery in rest {
                    self.put_back(delivery).await;
                }
            }
            if cancel.is_cancelled() && grace.is_none() {
                grace = Some(Instant::now() + GRACE);
            }
            if stopping && self.open.is_empty() {
                return;
            }
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                // First: however much there is to do, leases are renewed.
                _ = leases.tick() => self.renew().await,
                // Runs that are given up now report, and what they had is stored; that may take a moment, not longer.
                () = sleep_until(grace), if grace.is_some() => break,
                _ = self.done.recv_many(&mut batch, 64) => ended.extend(batch),
                Some(stored) = self.stores.next(), if !self.stores.is_empty() => self.stored(stored).await,
                consumed = self.consumer.next(more), if !stopping && !closed => match consumed {
                    Some(Consumed::Delivery(delivery)) => self.take(delivery).await,
                    Some(Consumed::Lagged { missed }) => self.lag(missed),
                    // What runs here still comes to its end.
                    None => {
                        closed = true;
                        let durable = &self.spec.name;
                        tracing::error!(
                            target: "catga::delivery", %durable,
                            "no further reliable events arrive: the place of this node was taken, or the durable was deleted"
                        );
                    }
                },
                () = stop.cancelled(), if !stopping => {}
                () = cancel.cancelled(), if grace.is_none() => {}
            }
            while let Some(done) = ended.pop_front() {
                self.end(done).await;
            }
            self.start_held().await;
            self.start_waiting().await;
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
        self.round = Round::start();
        self.recent.age();
        self.settled.age();
        let Delivery { sequence, deliveries, messages, settle } = delivery;
        let first = first_of(&messages);
        match self.open.get_mut(&sequence) {
            // It is being worked on: only its settlement has a new address.
            Some(open) if open.first == first => return open.settle = settle,
            // Another one under its number, which has to wait until that is free.
            Some(_) => return settle_with(&self.spec.name, &settle, Settlement::GiveBack(LOOK_AGAIN)).await,
            None => {}
        }
        let messages = match messages {
            Ok(messages) => messages,
            Err((bytes, error)) => {
                let open = Open { first, settle, work: 1, left: 1, give_back: None };
                return self.take_unreadable(sequence, deliveries, bytes, &error, open).await;
            }
        };
        if deliveries > 1 && self.settled.contains(&(sequence, first)) {
            // Its acknowledgement was lost.
            for envelope in &messages {
                for (_, handler) in self.handlers_of(&envelope.name) {
                    self.note_repeat(envelope, handler);
                }
            }
            return settle_with(&self.spec.name, &settle, Settlement::Acknowledge).await;
        }
        if let Some(delay) = self.wait_for_another(&messages, deliveries) {
            return settle_with(&self.spec.name, &settle, Settlement::GiveBack(delay)).await;
        }
        // A first delivery has a number beyond all before it, unless the transport doubled it or it had to wait.
        let again = deliveries > 1 || sequence <= self.highest;
        self.highest = self.highest.max(sequence);
        // One more is counted until all of the delivery is under way.
        self.open.insert(sequence, Open { first, settle, work: 0, left: 1, give_back: None });
        let mut works = Vec::new();
        for envelope in messages {
            self.work_on(sequence, &Arc::new(envelope), again, &mut works);
            for work in works.drain(..) {
                if let Some(open) = self.open.get_mut(&sequence) {
                    (open.work, open.left, self.in_flight) = (open.work + 1, open.left + 1, self.in_flight + 1);
                }
                if deliveries > 1 {
                    self.suspect(sequence, work).await;
                } else {
                    self.admit(sequence, work).await;
                }
            }
        }
        self.one_less(sequence).await;
    }

    /// Gives back a delivery that has arrived and was not taken.
    async fn put_back(&mut self, delivery: Delivery) {
        match self.open.get_mut(&delivery.sequence) {
            Some(open) if open.first == first_of(&delivery.messages) => open.settle = delivery.settle,
            _ => settle_with(&self.spec.name, &delivery.settle, Settlement::Untouched).await,
        }
    }

    /// A retry for a handler that this member of a group does not have is for a newer member, or an older one: for a
    /// while, this one leaves it to others.
    fn wait_for_another(&self, messages: &[Envelope], deliveries: u32) -> Option<Duration> {
        let limits = &self.node.limits;
        let [only] = messages else { return None };
        let retry = only.retry.as_ref()?;
        let missing = self.spec.shared && !self.has_handler(&only.name, &retry.handler);
        let policy = RetryPolicy { attempts: limits.event_attempts, base: limits.backoff };
        (missing && deliveries < policy.attempts).then(|| policy.jittered(deliveries))
    }

    /// What is left to be done with a message here.
    fn work_on(&mut self, sequence: u64, envelope: &Arc<Envelope>, again: bool, works: &mut Vec<Work>) {
        if let Some(retry) = &envelope.retry
            && !self.has_handler(&envelope.name, &retry.handler)
        {
            return self.bury_for_the_missing(sequence, envelope, retry);
        }
        let repeat = again || envelope.repeat;
        for (number, handler) in self.handlers_of(&envelope.name) {
            let (attempt, crashes, declared) = match &envelope.retry {
                None => (1, 0, false),
                Some(retry) if *retry.handler == *handler.name => (retry.attempt, retry.crashes, retry.declared),
                Some(_) => continue,
            };
            // What a handler emitted is looked up in any case, and so is what another run failed: a member of a group that was
            // cut off emits or fails late, and without the mark of a repeat, what another one has done in its place.
            let late = envelope.id.is_derived() || envelope.retry.is_some();
            if (repeat || late) && self.recent.contains(&(envelope.id, *number)) {
                self.note_repeat(envelope, handler);
                continue;
            }
            works.push(Work {
                handler: handler.clone(),
                number: *number,
                envelope: envelope.clone(),
                attempt,
                repeat,
                crashes,
                declared,
            });
        }
    }

    /// Whether it was done while it waited: it may have come by several deliveries.
    pub(super) fn is_done(&self, work: &Work) -> bool {
        let done = self.recent.contains(&(work.envelope.id, work.number));
        if done {
            self.note_repeat(&work.envelope, &work.handler);
        }
        done
    }

    fn note_repeat(&self, envelope: &Envelope, handler: &HandlerEntry) {
        self.node.counters.duplicates(1);
        let duplicate = || Occurrence::Duplicate { handler: handler.name.clone() };
        self.node.observe(&envelope.name, envelope.id, duplicate);
    }

    pub(super) fn has_handler(&self, event: &str, name: &str) -> bool {
        self.handlers_of(event).iter().any(|(_, handler)| *handler.name == *name)
    }

    fn handlers_of(&self, event: &str) -> &[(u16, Arc<HandlerEntry>)] {
        self.handlers.get(event).map_or(&[], Vec::as_slice)
    }

    /// One run or store of a delivery has ended; the last one settles it.
    pub(super) async fn one_less(&mut self, sequence: u64) {
        let Some(open) = self.open.get_mut(&sequence) else { return };
        open.left -= 1;
        if open.left > 0 {
            return;
        }
        let Some(open) = self.open.remove(&sequence) else { return };
        self.in_flight -= open.work;
        let settlement = match open.give_back {
            Some(delay) => Settlement::GiveBack(delay),
            None => {
                self.settled.insert((sequence, open.first));
                Settlement::Acknowledge
            }
        };
        settle_with(&self.spec.name, &open.settle, settlement).await;
    }
}

/// The id of its first message.
fn first_of(messages: &Result<Vec<Envelope>, (Bytes, Error)>) -> MessageId {
    match messages {
        Ok(messages) => messages.first().map_or(MessageId::from_u128(0), |first| first.id),
        Err((bytes, _)) => MessageId::derived(&[bytes]),
    }
}

/// A settlement that is lost leads to another delivery: nothing is repeated here. Takes no `self`, which other threads
/// must not see while the future waits.
pub(super) async fn settle_with(durable: &Arc<str>, settle: &Arc<dyn Settle>, settlement: Settlement) {
    if let Err(error) = settle.settle(settlement).await {
        tracing::debug!(target: "catga::delivery", %error, %durable, "a settlement was lost");
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
