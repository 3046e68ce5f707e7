//! One application in the broker: its nodes, its stream, its durables, its dead letters.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::mpsc, time::Instant};

#[cfg(feature = "testing")]
use super::command::Pending;
use super::{
    Settings,
    command::{Command, From},
    consumer::{CREDIT, InProcessConsumer},
    dead_letters::DeadLetters,
    durable::{DurableState, Member},
    stream::{Stored, Stream},
};
use crate::{
    envelope::{Envelope, Reply},
    error::{Error, ErrorKind},
    frame,
    transport::{Backlog, Consumer, Inbox, InboxSenders, Registration, Settlement},
};

/// Everything that the nodes of one application share.
pub(super) struct App {
    pub(super) nodes: BTreeMap<Arc<str>, Node>,
    pub(super) stream: Stream,
    pub(super) durables: BTreeMap<Arc<str>, DurableState>,
    /// What happens at a time: leases that end, messages that come due.
    pub(super) timers: BTreeSet<(Instant, Arc<str>, u64, Timer)>,
    pub(super) dead_letters: DeadLetters,
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
    /// It shuts down: what is stored is left to those who stay.
    pub(super) leaving: bool,
}

impl App {
    pub(super) fn new() -> Self {
        Self {
            nodes: BTreeMap::new(),
            stream: Stream::new(),
            durables: BTreeMap::new(),
            timers: BTreeSet::new(),
            dead_letters: DeadLetters::default(),
        }
    }

    pub(super) fn join(
        &mut self,
        mut node: Registration,
        commands: &mpsc::Sender<Command>,
    ) -> (Inbox, Vec<Box<dyn Consumer>>) {
        let (senders, inbox) = Inbox::new(node.queue);
        let from = From { app: node.app.clone(), node: node.node.clone(), incarnation: node.incarnation };
        let mut consumers: Vec<Box<dyn Consumer>> = Vec::new();
        for spec in std::mem::take(&mut node.durables) {
            let name = spec.name.clone();
            let head = self.stream.head();
            let state = self.durables.entry(name.clone()).or_insert_with(|| DurableState::new(spec.clone(), head));
            // What it owes and no longer wants; looked at before it forgets since when it wanted what.
            let unwanted: Vec<_> = self
                .stream
                .from(0)
                .filter(|(_, stored)| !spec.events.contains(&stored.name))
                .filter(|(sequence, stored)| state.wants(&stored.name, *sequence) && state.owes(*sequence))
                .map(|(sequence, _)| sequence)
                .collect();
            state.subscribe(spec, head);
            let (sender, receiver) = mpsc::channel(2 * CREDIT);
            let (node, incarnation) = (node.node.clone(), node.incarnation);
            state.connect(Member { node, incarnation, sender, credit: 0, doubtful_until: None });
            for sequence in unwanted {
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
        let Registration { node, incarnation, events, .. } = node;
        self.nodes.insert(node, Node { incarnation, inbox: senders, events, leaving: false });
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

    /// Stores for every durable that wants it.
    pub(super) fn store(
        &mut self,
        name: &Arc<str>,
        frame: Bytes,
        identity: u128,
        settings: &Settings,
    ) -> Result<(), Error> {
        if frame.len() > settings.max_bytes {
            let (bytes, limit) = (frame.len(), settings.max_bytes);
            let text = format!("`{name}`: {bytes} bytes are more than the store keeps, which is at most {limit}");
            return Err(Error::not_started(ErrorKind::TooLarge, text));
        }
        let now = Instant::now();
        if self.stream.admit(identity, now, settings) {
            let head = self.stream.head();
            let owed = self.durables.values().filter(|durable| durable.wants(name, head)).count();
            if owed > 0 {
                self.stream.push(Stored { name: name.clone(), frame, at: now, owed });
                self.expire_stream(settings, now);
            }
        }
        Ok(())
    }

    /// Stores for one durable alone. Refuses what finds no room: to give up another message for it would be a loss.
    pub(super) fn store_for(
        &mut self,
        durable: &Arc<str>,
        frame: Bytes,
        identity: u128,
        delay: Duration,
        settings: &Settings,
    ) -> Result<(), Error> {
        let (now, limit) = (Instant::now(), settings.max_bytes);
        let bytes: usize = self.durables.values().map(|durable| durable.own_bytes).sum();
        let Some(state) = self.durables.get_mut(durable) else {
            return Err(Error::not_started(ErrorKind::NotFound, format!("there is no durable `{durable}`")));
        };
        // What is here already is only confirmed once more. What is refused must not be remembered.
        if bytes + frame.len() > limit && !self.stream.knows(identity) {
            let text = format!("{bytes} bytes wait for another attempt of their handlers, of at most {limit}");
            return Err(Error::not_started(ErrorKind::Overloaded, text));
        }
        if self.stream.admit(identity, now, settings) {
            let sequence = self.stream.number();
            state.keep(sequence, frame);
            self.timers.insert((now + delay, durable.clone(), sequence, Timer::ComesDue));
        }
        Ok(())
    }

    pub(super) fn settle(
        &mut self,
        from: &From,
        name: &Arc<str>,
        sequence: u64,
        deliveries: u32,
        settlement: Settlement,
    ) {
        let Some(durable) = self.durables.get_mut(name) else { return };
        let now = Instant::now();
        let open = durable.open.get(&sequence);
        // Made again meanwhile, it is another one's to give back or to hold; done is done, whoever says so.
        let current = open.is_some_and(|open| open.deliveries == deliveries && open.node == from.node);
        if !current && settlement != Settlement::Acknowledge {
            return;
        }
        if let Some(lease_ends) = open.map(|open| open.lease_ends) {
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
            Settlement::Untouched => durable.put_back(sequence),
        }
    }

    pub(super) fn expire_stream(&mut self, settings: &Settings, now: Instant) {
        while let Some((sequence, stored)) = self.stream.expire(now, settings) {
            for durable in self.durables.values_mut() {
                durable.lose(sequence, &stored.name, frame::count(&stored.frame));
            }
        }
    }

    /// Lets go of what has grown too old, and of what nobody is behind any more.
    pub(super) fn keep_house(&mut self, settings: &Settings, now: Instant) {
        // A node that was killed did not say that it leaves.
        self.nodes.retain(|_, node| !node.inbox.is_closed());
        self.expire_stream(settings, now);
        for durable in self.durables.values_mut() {
            durable.note_absence(now);
        }
        let expired: Vec<_> = self
            .durables
            .iter()
            .filter(|(_, durable)| match (durable.alone_since, durable.spec.lifetime) {
                (Some(since), Some(lifetime)) => now.duration_since(since) >= lifetime,
                _ => false,
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in expired {
            self.forget(&name);
        }
        self.dead_letters.expire(now, settings);
    }

    /// Answers a request that could not be delivered, in the name of the node that it was for.
    pub(super) fn refuse(&self, envelope: &Envelope, kind: ErrorKind, text: &str) {
        let (Some(request), Some(asker)) = (&envelope.request, self.nodes.get(&envelope.source)) else { return };
        asker.inbox.reply(Reply::new(request.token, Err(Error::not_started(kind, text))));
    }

    /// What waits, for a node that shuts down: from now on it counts as one that leaves.
    pub(super) fn backlog(&mut self, node: &str, incarnation: u64) -> Backlog {
        if let Some(asking) = self.nodes.get_mut(node).filter(|asking| asking.incarnation == incarnation) {
            asking.leaving = true;
        }
        let sum = |keep: &dyn Fn(&DurableState) -> bool| {
            let kept = self.durables.values().filter(|durable| keep(durable));
            kept.map(|durable| durable.backlog(&self.stream)).sum()
        };
        let stays = |id: &Arc<str>| {
            let other = self.nodes.get(id).filter(|other| !other.leaving && !other.inbox.requests.is_closed());
            **id != *node && other.is_some()
        };
        Backlog {
            here: sum(&|durable| durable.serves(node, incarnation) && !durable.consumers().any(stays)),
            nowhere: sum(&|durable| durable.consumers().next().is_none()),
            others: self.nodes.keys().filter(|id| stays(id)).count(),
        }
    }

    #[cfg(feature = "testing")]
    pub(super) fn pending(&self) -> Pending {
        let connected = self.durables.values().filter(|durable| durable.consumers().next().is_some());
        Pending {
            owed: connected.map(|durable| durable.backlog(&self.stream)).sum(),
            queued: self
                .nodes
                .values()
                .filter(|node| !node.inbox.takes_no_events())
                .map(|node| node.inbox.waiting())
                .sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Durable;

    /// An application with one node, and what that receives.
    fn app() -> (App, Inbox, Vec<Box<dyn Consumer>>) {
        let durable = Durable {
            name: "n.node1".into(),
            events: Vec::new(),
            shared: false,
            ack_wait: Duration::from_secs(30),
            lifetime: None,
        };
        let node = Registration {
            app: "app".into(),
            node: "node1".into(),
            incarnation: 1,
            events: Vec::new(),
            requests: Vec::new(),
            durables: vec![durable],
            queue: 1,
        };
        let mut app = App::new();
        let (inbox, consumers) = app.join(node, &mpsc::channel(1).0);
        (app, inbox, consumers)
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_another_attempt_is_bounded_and_what_is_refused_is_not_remembered() {
        let settings = Settings { max_bytes: 1_000, ..Settings::default() };
        let (mut app, _inbox, _consumers) = app();
        let store = |app: &mut App, identity| {
            let frame = Bytes::from(vec![0; 400]);
            app.store_for(&"n.node1".into(), frame, identity, Duration::ZERO, &settings).map_err(|error| error.kind())
        };
        assert_eq!([1, 2, 3].map(|one| store(&mut app, one)), [Ok(()), Ok(()), Err(ErrorKind::Overloaded)]);
        assert_eq!(store(&mut app, 2), Ok(()), "it is here already");
        let from = From { app: "app".into(), node: "node1".into(), incarnation: 1 };
        app.settle(&from, &"n.node1".into(), 1, 1, Settlement::Acknowledge);
        assert_eq!(store(&mut app, 3), Ok(()));
        assert_eq!(app.backlog("node1", 1).here, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_being_handled_can_be_stored_again_however_full_the_store_is() {
        let settings = Settings { max_bytes: 1_000, ..Settings::default() };
        let (mut app, _inbox, _consumers) = app();
        let name = "n.node1".into();
        let store = |app: &mut App, identity| {
            let frame = Bytes::from(vec![0; 500]);
            app.store_for(&name, frame, identity, Duration::ZERO, &settings).map_err(|error| error.kind())
        };
        let durable = |app: &mut App| std::mem::take(&mut app.durables).remove(&name).unwrap();
        assert_eq!([1, 2, 3].map(|one| store(&mut app, one)), [Ok(()), Ok(()), Err(ErrorKind::Overloaded)]);
        let mut state = durable(&mut app);
        state.pull("node1", 1, 1);
        state.make_ready(1);
        assert_eq!(state.next_due(&mut app.stream, Instant::now()).map(|due| due.sequence), Some(1));
        app.durables.insert(name.clone(), state);
        assert_eq!([3, 4].map(|one| store(&mut app, one)), [Ok(()), Err(ErrorKind::Overloaded)]);
        let from = From { app: "app".into(), node: "node1".into(), incarnation: 1 };
        app.settle(&from, &name, 1, 1, Settlement::Acknowledge);
        assert_eq!(store(&mut app, 4), Err(ErrorKind::Overloaded), "its room was taken when it was stored again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_ended_without_a_word_is_forgotten() {
        let (mut app, inbox, _consumers) = app();
        app.keep_house(&Settings::default(), Instant::now());
        assert_eq!(app.nodes.len(), 1);
        // While it shuts down it takes no more requests, but waits for replies.
        let Inbox { replies, events, requests, probes, cluster, lost_replies: _ } = inbox;
        drop((events, requests, probes, cluster));
        app.keep_house(&Settings::default(), Instant::now());
        assert_eq!(app.nodes.len(), 1);
        drop(replies);
        app.keep_house(&Settings::default(), Instant::now());
        assert!(app.nodes.is_empty());
    }
}
