//! One application in the broker: its nodes, its stream, its durables, its dead letters.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rustc_hash::FxHashMap;
use tokio::{sync::mpsc, time::Instant};

#[cfg(feature = "testing")]
use super::command::Pending;
use super::{
    Settings,
    command::{Command, From},
    consumer::{CREDIT, InProcessConsumer},
    durable::{DurableState, Member},
    stream::Stream,
};
use crate::{
    envelope::{Envelope, Reply},
    error::{Error, ErrorKind},
    frame,
    id::MessageId,
    transport::{Backlog, Consumer, DeadLetter, Inbox, InboxSenders, Registration, Settlement},
};

/// The most dead letters; beyond, somebody should have looked.
const MAX_DEAD: usize = 100_000;

/// Everything that the nodes of one application share.
pub(super) struct App {
    pub(super) nodes: BTreeMap<Arc<str>, Node>,
    pub(super) stream: Stream,
    pub(super) durables: BTreeMap<Arc<str>, DurableState>,
    /// What happens at a time: leases that end, messages that come due.
    pub(super) timers: BTreeSet<(Instant, Arc<str>, u64, Timer)>,
    pub(super) dead: BTreeMap<u64, (Instant, DeadLetter)>,
    pub(super) dead_ids: FxHashMap<MessageId, u64>,
    pub(super) next_dead: u64,
}

/// What happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    LeaseEnds,
    ComesDue,
}

/// A node that has joined.
pub(super) struct Node {
    pub(super) incarnation: u64,
    pub(super) inbox: InboxSenders,
    pub(super) events: Vec<Arc<str>>,
}

impl App {
    pub(super) fn new() -> Self {
        Self {
            nodes: BTreeMap::new(),
            stream: Stream::new(),
            durables: BTreeMap::new(),
            timers: BTreeSet::new(),
            dead: BTreeMap::new(),
            dead_ids: FxHashMap::default(),
            next_dead: 0,
        }
    }

    pub(super) fn join(
        &mut self,
        node: Registration,
        commands: &mpsc::Sender<Command>,
    ) -> (Inbox, Vec<Box<dyn Consumer>>) {
        let (senders, inbox) = Inbox::new(node.queue);
        let from = From { app: node.app.clone(), node: node.node.clone(), incarnation: node.incarnation };
        let mut consumers: Vec<Box<dyn Consumer>> = Vec::new();
        for spec in node.durables {
            let name = spec.name.clone();
            let head = self.stream.head();
            let state = self.durables.entry(name.clone()).or_insert_with(|| DurableState::new(spec.clone(), head));
            let unwanted = state.subscribe(spec, head);
            let owed: Vec<_> = self
                .stream
                .from(0)
                .filter(|(sequence, stored)| unwanted.contains(&stored.name) && state.owes(*sequence))
                .map(|(sequence, _)| sequence)
                .collect();
            let (sender, receiver) = mpsc::channel(2 * CREDIT);
            state.connect(Member { node: node.node.clone(), incarnation: node.incarnation, sender, credit: 0 });
            for sequence in owed {
                state.acknowledge(sequence);
                self.stream.settle(sequence);
            }
            consumers.push(Box::new(InProcessConsumer {
                from: from.clone(),
                durable: name,
                commands: commands.clone(),
                receiver,
                asked: 0,
            }));
        }
        self.nodes.insert(node.node, Node { incarnation: node.incarnation, inbox: senders, events: node.events });
        (inbox, consumers)
    }

    pub(super) fn leave(&mut self, from: &From, for_good: bool) {
        if self.nodes.get(&from.node).is_some_and(|node| node.incarnation == from.incarnation) {
            self.nodes.remove(&from.node);
        }
        let now = Instant::now();
        let mut own = Vec::new();
        for (name, durable) in &mut self.durables {
            let member = durable.serves(&from.node, from.incarnation);
            durable.disconnect(&from.node, from.incarnation, now);
            if for_good && member && !durable.spec.shared {
                own.push(name.clone());
            }
        }
        for name in own {
            self.forget(&name);
        }
    }

    /// Gives a durable up, with everything that it still owes.
    pub(super) fn forget(&mut self, name: &Arc<str>) {
        let Some(durable) = self.durables.remove(name) else { return };
        let owed: Vec<_> = self
            .stream
            .from(0)
            .filter(|(sequence, stored)| durable.wants(&stored.name, *sequence) && durable.owes(*sequence))
            .map(|(sequence, _)| sequence)
            .collect();
        for sequence in owed {
            self.stream.settle(sequence);
        }
    }

    pub(super) fn settle(&mut self, name: &Arc<str>, sequence: u64, deliveries: u32, settlement: Settlement) {
        let Some(durable) = self.durables.get_mut(name) else { return };
        let now = Instant::now();
        let open = durable.open.get(&sequence).map(|open| (open.deliveries, open.lease_ends));
        // Made again meanwhile, it is another one's to give back or to hold; done is done, whoever says so.
        let current = open.is_some_and(|(made, _)| made == deliveries);
        if !current && settlement != Settlement::Acknowledge {
            return;
        }
        if let Some((_, lease_ends)) = open {
            self.timers.remove(&(lease_ends, name.clone(), sequence, Timer::LeaseEnds));
        }
        match settlement {
            Settlement::Acknowledge => {
                if durable.acknowledge(sequence) {
                    self.stream.settle(sequence);
                }
            }
            Settlement::Progress => {
                let ends = now + durable.spec.ack_wait;
                if let Some(open) = durable.open.get_mut(&sequence) {
                    open.lease_ends = ends;
                    self.timers.insert((ends, name.clone(), sequence, Timer::LeaseEnds));
                }
            }
            Settlement::GiveBack(delay) => {
                if durable.take_back(sequence) {
                    self.timers.insert((now + delay, name.clone(), sequence, Timer::ComesDue));
                }
            }
        }
    }

    pub(super) fn expire_stream(&mut self, settings: &Settings, now: Instant) {
        while let Some((sequence, stored)) = self.stream.expire(now, settings) {
            for durable in self.durables.values_mut() {
                durable.lose(sequence, &stored.name, frame::count(&stored.frame));
            }
        }
    }

    /// Answers a request that could not be delivered, in the name of the node that it was for.
    pub(super) fn refuse(&self, envelope: &Envelope, kind: ErrorKind, text: &str) {
        let (Some(request), Some(asker)) = (&envelope.request, self.nodes.get(&envelope.source)) else { return };
        asker.inbox.reply(Reply::new(request.token, Err(Error::not_started(kind, text))));
    }

    pub(super) fn bury(&mut self, letter: DeadLetter) {
        if self.dead_ids.get(&letter.id).is_some_and(|order| self.dead.contains_key(order)) {
            return;
        }
        self.dead_ids.insert(letter.id, self.next_dead);
        self.dead.insert(self.next_dead, (Instant::now(), letter));
        self.next_dead += 1;
        if self.dead.len() > MAX_DEAD
            && let Some((_, (_, oldest))) = self.dead.pop_first()
        {
            let (id, limit) = (oldest.id, MAX_DEAD);
            tracing::error!(target: "catga::delivery", %id, limit, "there are too many dead letters: the oldest is given up");
        }
        if self.dead_ids.len() > 2 * MAX_DEAD {
            let dead = &self.dead;
            self.dead_ids.retain(|_, order| dead.contains_key(order));
        }
    }

    pub(super) fn dead_letters(&self, after: Option<MessageId>, limit: usize) -> Vec<DeadLetter> {
        let start = after.and_then(|id| self.dead_ids.get(&id)).map_or(0, |order| order + 1);
        self.dead.range(start..).take(limit).map(|(_, (_, letter))| letter.clone()).collect()
    }

    /// Its place is still known afterwards: who lists dead letters and deletes them goes on behind it.
    pub(super) fn delete_dead(&mut self, id: MessageId) -> bool {
        self.dead_ids.get(&id).is_some_and(|order| self.dead.remove(order).is_some())
    }

    pub(super) fn backlog(&self, node: &str, incarnation: u64) -> Backlog {
        let sum = |keep: &dyn Fn(&DurableState) -> bool| {
            let kept = self.durables.values().filter(|durable| keep(durable));
            kept.map(|durable| durable.backlog(&self.stream)).sum()
        };
        let alive = |(id, other): (&Arc<str>, &Node)| **id != *node && !other.inbox.requests.is_closed();
        let others = self.nodes.iter().filter(|entry| alive(*entry)).count();
        Backlog {
            here: sum(&|durable| durable.serves(node, incarnation)),
            nowhere: sum(&|durable| !durable.has_members()),
            others,
        }
    }

    #[cfg(feature = "testing")]
    pub(super) fn pending(&self) -> Pending {
        let queued = |node: &Node| {
            let inbox = &node.inbox;
            let used = |capacity: usize, max: usize| max - capacity;
            used(inbox.events.capacity(), inbox.events.max_capacity())
                + used(inbox.requests.capacity(), inbox.requests.max_capacity())
                + used(inbox.replies.capacity(), inbox.replies.max_capacity())
        };
        let connected = self.durables.values().filter(|durable| durable.has_members());
        Pending {
            owed: connected.map(|durable| durable.backlog(&self.stream)).sum(),
            queued: self.nodes.values().filter(|node| !node.inbox.events.is_closed()).map(queued).sum(),
        }
    }
}
