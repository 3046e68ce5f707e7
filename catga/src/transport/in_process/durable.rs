//! One durable: its place in the stream, what is delivered and not settled, and the nodes that consume it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use rustc_hash::FxHashMap;
use tokio::{sync::mpsc, time::Instant};

use super::stream::{Stored, Stream};
use crate::{
    frame,
    transport::{Consumed, Durable},
};

/// The state of one durable.
#[derive(Debug)]
pub(super) struct DurableState {
    pub(super) spec: Durable,
    /// The events that it is delivered, each from this number on: what came before it subscribed is not its own.
    since: FxHashMap<Arc<str>, u64>,
    /// The next number in the stream that it has not looked at.
    cursor: u64,
    /// Messages stored for this durable alone.
    own: BTreeMap<u64, Bytes>,
    /// How many bytes those take that are not delivered. What is delivered makes room for what its node stores in its place.
    pub(super) own_bytes: usize,
    /// What is to be delivered before anything new: first what was stored for this durable alone, which is what remained of
    /// deliveries that came before those of the stream.
    ready: BTreeSet<(Source, u64)>,
    /// Delivered and not settled.
    pub(super) open: BTreeMap<u64, Open>,
    /// How often something was delivered that waits to be delivered again.
    counts: FxHashMap<u64, u32>,
    members: Vec<Member>,
    next_member: usize,
    /// How many messages were in what went beyond the horizon while a node had it: that node may yet finish it.
    gone: FxHashMap<u64, u64>,
    /// Messages that are gone beyond the horizon, and not yet reported.
    missed: u64,
    /// Since when no node has been connected.
    pub(super) alone_since: Option<Instant>,
}

/// Where something to be delivered is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Own,
    Stream,
}

/// A delivery that is not settled.
#[derive(Debug)]
pub(super) struct Open {
    /// Who has it.
    pub(super) node: Arc<str>,
    pub(super) deliveries: u32,
    pub(super) lease_ends: Instant,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) node: Arc<str>,
    pub(super) incarnation: u64,
    pub(super) sender: mpsc::Sender<Consumed>,
    /// How many deliveries it has asked for and not got.
    pub(super) credit: usize,
    /// A lease of it ended: until then others are preferred, for it may be cut off.
    pub(super) doubtful_until: Option<Instant>,
}

/// Something to deliver, and to whom.
pub(super) struct Due {
    pub(super) sequence: u64,
    pub(super) deliveries: u32,
    pub(super) frame: Bytes,
    pub(super) node: Arc<str>,
    pub(super) incarnation: u64,
    pub(super) sender: mpsc::Sender<Consumed>,
}

impl DurableState {
    /// A durable that starts with what is new.
    pub(super) fn new(spec: Durable, head: u64) -> Self {
        let mut state = Self {
            spec: Durable { events: Vec::new(), ..spec.clone() },
            since: FxHashMap::default(),
            cursor: head,
            own: BTreeMap::new(),
            own_bytes: 0,
            ready: BTreeSet::new(),
            open: BTreeMap::new(),
            counts: FxHashMap::default(),
            members: Vec::new(),
            next_member: 0,
            gone: FxHashMap::default(),
            missed: 0,
            alone_since: None,
        };
        state.subscribe(spec, head);
        state
    }

    /// Takes over a new registration.
    pub(super) fn subscribe(&mut self, spec: Durable, head: u64) {
        for name in &spec.events {
            self.since.entry(name.clone()).or_insert(head);
        }
        self.since.retain(|name, _| spec.events.contains(name));
        self.spec = spec;
    }

    /// Whether an entry of the stream is for this durable.
    pub(super) fn wants(&self, name: &str, sequence: u64) -> bool {
        self.since.get(name).is_some_and(|since| sequence >= *since)
    }

    /// Whether this durable still owes a settlement for an entry of the stream that is for it.
    pub(super) fn owes(&self, sequence: u64) -> bool {
        sequence >= self.cursor
            || self.open.contains_key(&sequence)
            || self.ready.contains(&(Source::Stream, sequence))
            || self.counts.contains_key(&sequence)
    }

    /// Takes a member on. What its former self had taken is made ready again: nobody else will settle it.
    pub(super) fn connect(&mut self, member: Member) {
        let taken = self.open.iter().filter(|(_, open)| open.node == member.node).map(|(sequence, _)| *sequence);
        for sequence in taken.collect::<Vec<_>>() {
            if self.take_back(sequence) {
                self.make_ready(sequence);
            }
        }
        self.members.retain(|known| known.node != member.node && !known.sender.is_closed());
        self.members.push(member);
        self.alone_since = None;
    }

    /// Forgets the members that are gone, and `node` if it is that incarnation.
    pub(super) fn disconnect(&mut self, node: &str, incarnation: u64, now: Instant) {
        self.members.retain(|known| {
            !(known.sender.is_closed() || known.node.as_ref() == node && known.incarnation == incarnation)
        });
        self.note_absence(now);
    }

    /// Starts or stops the clock of the durable's lifetime.
    pub(super) fn note_absence(&mut self, now: Instant) {
        self.members.retain(|known| !known.sender.is_closed());
        match self.members.is_empty() {
            true => self.alone_since = self.alone_since.or(Some(now)),
            false => self.alone_since = None,
        }
    }

    pub(super) fn pull(&mut self, node: &str, incarnation: u64, credit: usize) {
        let member =
            self.members.iter_mut().find(|known| known.node.as_ref() == node && known.incarnation == incarnation);
        if let Some(member) = member {
            member.credit += credit;
        }
    }

    /// Makes no further deliveries to a member.
    pub(super) fn stop(&mut self, node: &str, incarnation: u64) {
        for member in &mut self.members {
            if member.node.as_ref() == node && member.incarnation == incarnation {
                member.credit = 0;
            }
        }
    }

    /// Stores something for this durable alone; it is delivered once [`ready`](Self::make_ready).
    pub(super) fn keep(&mut self, sequence: u64, frame: Bytes) {
        self.own_bytes += frame.len();
        self.own.insert(sequence, frame);
    }

    /// Something that was acknowledged meanwhile stays so.
    pub(super) fn make_ready(&mut self, sequence: u64) {
        if self.own.contains_key(&sequence) && !self.open.contains_key(&sequence) || self.counts.contains_key(&sequence)
        {
            self.ready.insert((self.source(sequence), sequence));
        }
    }

    fn source(&self, sequence: u64) -> Source {
        if self.own.contains_key(&sequence) { Source::Own } else { Source::Stream }
    }

    /// Takes a delivery back: it is made again once ready.
    pub(super) fn take_back(&mut self, sequence: u64) -> bool {
        let Some(open) = self.open.remove(&sequence) else { return false };
        self.counts.insert(sequence, open.deliveries);
        self.own_bytes += self.own.get(&sequence).map_or(0, Bytes::len);
        true
    }

    /// Takes a delivery back that was not begun, as if it had not been made.
    pub(super) fn put_back(&mut self, sequence: u64) {
        if self.take_back(sequence) {
            self.counts.entry(sequence).and_modify(|count| *count -= 1);
            self.make_ready(sequence);
        }
    }

    /// Takes a delivery back whose lease has ended, and makes it again.
    pub(super) fn end_lease(&mut self, sequence: u64, now: Instant) {
        let Some(open) = self.open.get(&sequence).filter(|open| open.lease_ends <= now) else { return };
        if let Some(member) = self.members.iter_mut().find(|member| member.node == open.node) {
            member.doubtful_until = Some(now + self.spec.ack_wait);
        }
        if self.take_back(sequence) {
            self.make_ready(sequence);
        }
    }

    /// Settles a delivery, also one that waits to be made again; says whether an entry of the stream is done with.
    pub(super) fn acknowledge(&mut self, sequence: u64) -> bool {
        let open = self.open.remove(&sequence).is_some();
        let known = self.counts.remove(&sequence).is_some() || open;
        self.ready.remove(&(self.source(sequence), sequence));
        self.gone.remove(&sequence);
        match self.own.remove(&sequence) {
            Some(frame) => {
                self.own_bytes -= if open { 0 } else { frame.len() };
                false
            }
            None => known,
        }
    }

    /// An entry of the stream is gone beyond the horizon.
    pub(super) fn lose(&mut self, sequence: u64, name: &str, messages: u64) {
        if !self.wants(name, sequence) || !self.owes(sequence) {
            return;
        }
        if self.open.contains_key(&sequence) {
            self.gone.insert(sequence, messages);
        } else {
            self.ready.remove(&(Source::Stream, sequence));
            self.counts.remove(&sequence);
            self.missed += messages;
        }
    }

    /// Takes the next thing to deliver, if there is one and somebody who asked for it, who is told first what was lost.
    /// Looks no further than needed.
    pub(super) fn next_due(&mut self, stream: &mut Stream, now: Instant) -> Option<Due> {
        let index = self.ready_member(now)?;
        let next = self.take_next(stream);
        let member = &mut self.members[index];
        if self.missed > 0 && member.sender.try_send(Consumed::Lagged { missed: self.missed }).is_ok() {
            self.missed = 0;
        }
        let (sequence, frame) = next?;
        member.credit -= 1;
        self.own_bytes -= self.own.get(&sequence).map_or(0, Bytes::len);
        let deliveries = self.counts.remove(&sequence).unwrap_or(0) + 1;
        let node = member.node.clone();
        self.open.insert(sequence, Open { node, deliveries, lease_ends: now + self.spec.ack_wait });
        self.next_member = index + 1;
        let member = &self.members[index];
        Some(Due {
            sequence,
            deliveries,
            frame,
            node: member.node.clone(),
            incarnation: member.incarnation,
            sender: member.sender.clone(),
        })
    }

    /// The next member in turn that has asked for more.
    fn ready_member(&self, now: Instant) -> Option<usize> {
        let count = self.members.len();
        let in_turn = (0..count).map(|step| (self.next_member + step) % count).filter(|index| {
            let member = &self.members[*index];
            member.credit > 0 && !member.sender.is_closed() && member.sender.capacity() > 1
        });
        // The first that is in no doubt, or else the first.
        in_turn.min_by_key(|index| self.members[*index].doubtful_until.is_some_and(|until| now < until))
    }

    fn take_next(&mut self, stream: &mut Stream) -> Option<(u64, Bytes)> {
        while let Some((_, sequence)) = self.ready.pop_first() {
            let kept = self.own.get(&sequence).or_else(|| stream.get(sequence).map(|stored| &stored.frame));
            if let Some(frame) = kept {
                return Some((sequence, frame.clone()));
            }
            self.counts.remove(&sequence);
            self.missed += self.gone.remove(&sequence).unwrap_or(0);
        }
        let found = stream
            .from(self.cursor)
            .find(|(sequence, stored)| self.wants(&stored.name, *sequence))
            .map(|(sequence, stored)| (sequence, stored.frame.clone()));
        self.cursor = found.as_ref().map_or(stream.head(), |(sequence, _)| sequence + 1);
        found
    }

    /// How many messages are in open deliveries or wait for one, given what the stream still holds for it.
    pub(super) fn backlog(&self, stream: &Stream) -> usize {
        let messages = |stored: &Stored| usize::try_from(frame::count(&stored.frame)).unwrap_or(usize::MAX);
        let unseen = stream.from(self.cursor).filter(|(sequence, stored)| self.wants(&stored.name, *sequence));
        let seen = self.counts.keys().chain(self.open.keys()).filter(|sequence| !self.own.contains_key(sequence));
        unseen.map(|(_, stored)| messages(stored)).sum::<usize>()
            + seen.map(|sequence| stream.get(*sequence).map_or(1, messages)).sum::<usize>()
            + self.own.len()
    }

    /// The nodes that consume it.
    pub(super) fn consumers(&self) -> impl Iterator<Item = &Arc<str>> {
        self.members.iter().filter(|member| !member.sender.is_closed()).map(|member| &member.node)
    }
}

impl DurableState {
    pub(super) fn serves(&self, node: &str, incarnation: u64) -> bool {
        self.members.iter().any(|member| member.node.as_ref() == node && member.incarnation == incarnation)
    }
}
