//! The broker: one task that owns everything that nodes of one process share.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rustc_hash::FxHashMap;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    Settings,
    durable::{Due, DurableState, Member},
    faults::{Fate, Faults, Traffic},
    stream::{Stored, Stream},
};
use crate::{
    envelope::{Envelope, Reply},
    error::{Error, ErrorKind},
    frame,
    id::MessageId,
    transport::{Consumed, Consumer, DeadLetter, Delivery, Inbox, InboxSenders, Registration, Settle, Settlement},
};

/// How many deliveries a consumer asks for at a time.
const CREDIT: usize = 16;
/// How often the broker looks for what has grown too old.
const HOUSEKEEPING: Duration = Duration::from_secs(30);

type Done<T> = oneshot::Sender<T>;
/// What a node that has joined receives from.
type Receives = (Inbox, Vec<Box<dyn Consumer>>);

/// Who sends: application, node and incarnation.
#[derive(Clone, Debug)]
pub(super) struct From {
    pub(super) app: Arc<str>,
    pub(super) node: Arc<str>,
    pub(super) incarnation: u64,
}

/// What nodes ask of the broker.
pub(super) enum Command {
    Join {
        node: Registration,
        done: Done<Result<Receives, Error>>,
    },
    Leave {
        from: From,
        for_good: bool,
        done: Done<()>,
    },
    Publish {
        from: From,
        name: Arc<str>,
        frame: Bytes,
    },
    Store {
        from: From,
        name: Arc<str>,
        frame: Bytes,
        identity: u128,
        done: Done<()>,
    },
    StoreFor {
        from: From,
        durable: Arc<str>,
        frame: Bytes,
        identity: u128,
        delay: Duration,
        done: Done<bool>,
    },
    Request {
        from: From,
        to: Arc<str>,
        frame: Bytes,
    },
    Reply {
        from: From,
        to: Arc<str>,
        frame: Bytes,
    },
    Announce {
        from: From,
        announcement: Bytes,
    },
    Pull {
        from: From,
        durable: Arc<str>,
        credit: usize,
    },
    Unsubscribe {
        from: From,
        durable: Arc<str>,
        done: Done<()>,
    },
    Settle {
        from: From,
        durable: Arc<str>,
        sequence: u64,
        deliveries: u32,
        settlement: Settlement,
    },
    Bury {
        from: From,
        letter: Box<DeadLetter>,
        done: Done<()>,
    },
    DeadLetters {
        app: Arc<str>,
        after: Option<MessageId>,
        limit: usize,
        done: Done<Vec<DeadLetter>>,
    },
    DeadLetter {
        app: Arc<str>,
        id: MessageId,
        done: Done<Option<DeadLetter>>,
    },
    DeleteDeadLetter {
        app: Arc<str>,
        id: MessageId,
        done: Done<bool>,
    },
    Backlog {
        from: From,
        done: Done<usize>,
    },
    /// Something that a fault held back, now on its way.
    Late(Parcel),
    #[cfg(feature = "testing")]
    Inject(super::faults::Rule),
    #[cfg(feature = "testing")]
    Heal,
    #[cfg(feature = "testing")]
    Pending(Done<Pending>),
}

/// What waits in the broker.
#[cfg(feature = "testing")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Reliable events that a connected durable has not settled, those included that wait for their next attempt.
    pub(crate) owed: usize,
    /// Messages in the queues towards nodes.
    pub(crate) queued: usize,
}

/// Something on its way to a node's inbox.
#[derive(Debug)]
pub(super) struct Parcel {
    app: Arc<str>,
    to: Arc<str>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Event(Envelope),
    Request(Envelope),
    Reply(Reply),
    Announcement(Bytes),
}

/// Everything that nodes of one process share.
pub(super) struct Broker {
    settings: Settings,
    commands: mpsc::Receiver<Command>,
    /// For what a fault delays; weak, so that the broker ends with the last node and the last handle.
    back: mpsc::WeakSender<Command>,
    apps: FxHashMap<Arc<str>, App>,
    faults: Faults,
}

struct App {
    nodes: BTreeMap<Arc<str>, Node>,
    stream: Stream,
    durables: BTreeMap<Arc<str>, DurableState>,
    /// What happens at a time: leases that end, messages that come due.
    timers: BTreeSet<(Instant, Arc<str>, u64, Timer)>,
    dead: BTreeMap<u64, (Instant, DeadLetter)>,
    dead_ids: FxHashMap<MessageId, u64>,
    next_dead: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    LeaseEnds,
    ComesDue,
}

struct Node {
    incarnation: u64,
    inbox: InboxSenders,
    events: Vec<Arc<str>>,
}

impl Broker {
    pub(super) fn new(settings: Settings, commands: mpsc::Receiver<Command>, back: mpsc::WeakSender<Command>) -> Self {
        Self { settings, commands, back, apps: FxHashMap::default(), faults: Faults::default() }
    }

    /// Serves until every handle and every node is gone.
    pub(super) async fn run(mut self) {
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
        loop {
            let next = self.apps.values().filter_map(|app| app.timers.first().map(|timer| timer.0)).min();
            let timer = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.handle(command),
                    None => return,
                },
                () = timer => {}
                _ = housekeeping.tick() => self.keep_house(),
            }
            self.fire_timers();
        }
    }

    fn app(&mut self, app: &Arc<str>) -> &mut App {
        self.apps.entry(app.clone()).or_insert_with(App::new)
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Join { node, done } => {
                let back = self.back.clone();
                let joined = match back.upgrade() {
                    Some(commands) => Ok(self.app(&node.app.clone()).join(node, &commands)),
                    None => Err(super::gone()),
                };
                drop(done.send(joined));
            }
            Command::Leave { from, for_good, done } => {
                self.app(&from.app).leave(&from, for_good);
                let _ = done.send(());
            }
            Command::Publish { from, name, frame } => self.publish(&from, &name, &frame),
            Command::Store { from, name, frame, identity, done } => {
                if self.faults.decide(Traffic::Store, &name, &from.node, "") == Fate::Lose {
                    return;
                }
                self.store(&from.app, &name, frame, identity);
                self.pump(&from.app, None);
                if self.faults.decide(Traffic::StoreConfirmation, &name, &from.node, "") != Fate::Lose {
                    let _ = done.send(());
                }
            }
            Command::StoreFor { from, durable, frame, identity, delay, done } => {
                let fate = self.faults.decide(Traffic::Store, "", &from.node, "");
                if fate == Fate::Lose {
                    return;
                }
                let stored = self.store_for(&from.app, &durable, frame, identity, delay);
                self.pump(&from.app, Some(&durable));
                if self.faults.decide(Traffic::StoreConfirmation, "", &from.node, "") != Fate::Lose {
                    let _ = done.send(stored);
                }
            }
            Command::Request { from, to, frame } => self.request(&from, &to, &frame),
            Command::Reply { from, to, frame } => {
                let Ok(replies) = frame::decode_replies(&frame) else { return };
                for reply in replies {
                    self.carry(Traffic::Reply, "", &from.node, parcel(&from.app, &to, Content::Reply(reply)));
                }
            }
            Command::Announce { from, announcement } => {
                for to in self.others(&from) {
                    let content = Content::Announcement(announcement.clone());
                    self.carry(Traffic::Announcement, "", &from.node, parcel(&from.app, &to, content));
                }
            }
            Command::Pull { from, durable, credit } => {
                if let Some(state) = self.app(&from.app).durables.get_mut(&durable) {
                    state.pull(&from.node, from.incarnation, credit);
                }
                self.pump(&from.app, Some(&durable));
            }
            Command::Unsubscribe { from, durable, done } => {
                if let Some(state) = self.app(&from.app).durables.get_mut(&durable) {
                    state.stop(&from.node, from.incarnation);
                }
                let _ = done.send(());
            }
            Command::Settle { from, durable, sequence, deliveries, settlement } => {
                if self.faults.decide(Traffic::Acknowledgement, "", &from.node, "") == Fate::Lose {
                    return;
                }
                self.app(&from.app).settle(&durable, sequence, deliveries, settlement);
                self.pump(&from.app, Some(&durable));
            }
            Command::Bury { from, letter, done } => {
                if self.faults.decide(Traffic::Store, "", &from.node, "") == Fate::Lose {
                    return;
                }
                self.app(&from.app).bury(*letter);
                let _ = done.send(());
            }
            Command::DeadLetters { app, after, limit, done } => {
                drop(done.send(self.app(&app).dead_letters(after, limit)))
            }
            Command::DeadLetter { app, id, done } => {
                let app = self.app(&app);
                let found = app.dead_ids.get(&id).and_then(|order| app.dead.get(order));
                drop(done.send(found.map(|(_, letter)| letter.clone())));
            }
            Command::DeleteDeadLetter { app, id, done } => drop(done.send(self.app(&app).delete_dead(id))),
            Command::Backlog { from, done } => {
                let _ = done.send(self.app(&from.app).backlog(&from.node, from.incarnation));
            }
            Command::Late(parcel) => self.deliver(parcel),
            #[cfg(feature = "testing")]
            Command::Inject(rule) => self.faults.inject(rule),
            #[cfg(feature = "testing")]
            Command::Heal => self.faults.heal(),
            #[cfg(feature = "testing")]
            Command::Pending(done) => {
                let pending = self.apps.values().map(App::pending).fold(Pending::default(), |sum, app| Pending {
                    owed: sum.owed + app.owed,
                    queued: sum.queued + app.queued,
                });
                let _ = done.send(pending);
            }
        }
    }

    fn others(&mut self, from: &From) -> Vec<Arc<str>> {
        self.app(&from.app).nodes.keys().filter(|node| **node != from.node).cloned().collect()
    }

    fn publish(&mut self, from: &From, name: &Arc<str>, frame: &Bytes) {
        let targets: Vec<_> = self
            .app(&from.app)
            .nodes
            .iter()
            .filter(|(node, entry)| **node != from.node && entry.events.contains(name))
            .map(|(node, _)| node.clone())
            .collect();
        if targets.is_empty() {
            return;
        }
        let Ok(envelopes) = frame::decode_messages(frame) else { return };
        for to in targets {
            for envelope in &envelopes {
                let content = Content::Event(envelope.clone());
                self.carry(Traffic::Event, name, &from.node, parcel(&from.app, &to, content));
            }
        }
    }

    fn request(&mut self, from: &From, to: &Arc<str>, frame: &Bytes) {
        let Ok(envelopes) = frame::decode_messages(frame) else { return };
        for envelope in envelopes {
            let name = envelope.name.clone();
            self.carry(Traffic::Request, &name, &from.node, parcel(&from.app, to, Content::Request(envelope)));
        }
    }

    /// Brings a parcel to its node, unless a fault decides otherwise.
    fn carry(&mut self, traffic: Traffic, name: &str, from: &str, parcel: Parcel) {
        let fate = match self.faults.none() {
            true => Fate::Pass,
            false => self.faults.decide(traffic, name, from, &parcel.to),
        };
        match fate {
            Fate::Pass => self.deliver(parcel),
            Fate::Lose => {}
            Fate::Double => {
                if let Some(twin) = parcel.twin() {
                    self.deliver(twin);
                }
                self.deliver(parcel);
            }
            Fate::Delay(delay) => {
                let back = self.back.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    if let Some(commands) = back.upgrade() {
                        drop(commands.send(Command::Late(parcel)).await);
                    }
                });
            }
        }
    }

    fn deliver(&mut self, parcel: Parcel) {
        let app = self.app(&parcel.app);
        let Some(node) = app.nodes.get(&parcel.to) else {
            if let Content::Request(envelope) = &parcel.content {
                app.refuse(envelope, ErrorKind::Transport, &format!("node `{}` is not there", parcel.to));
            }
            return;
        };
        match parcel.content {
            // A queue that is full or gone drops the event: the receiver sees the gap in the sender's sequence.
            Content::Event(envelope) => drop(node.inbox.events.try_send(envelope)),
            Content::Reply(reply) => drop(node.inbox.replies.try_send(reply)),
            Content::Announcement(announcement) => drop(node.inbox.cluster.try_send(announcement)),
            Content::Request(envelope) => match node.inbox.requests.try_send(envelope) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(envelope)) => {
                    let text = format!("the queue of node `{}` is full", parcel.to);
                    app.refuse(&envelope, ErrorKind::Overloaded, &text);
                }
                Err(mpsc::error::TrySendError::Closed(envelope)) => {
                    app.refuse(&envelope, ErrorKind::Transport, &format!("node `{}` is not there", parcel.to));
                }
            },
        }
    }

    fn store(&mut self, app: &Arc<str>, name: &Arc<str>, frame: Bytes, identity: u128) {
        let (settings, now) = (self.settings, Instant::now());
        let app = self.app(app);
        if !app.stream.admit(identity, now, &settings) {
            return;
        }
        let head = app.stream.head();
        let owed = app.durables.values().filter(|durable| durable.wants(name, head)).count();
        if owed > 0 {
            app.stream.push(Stored { name: name.clone(), frame, at: now, owed });
            app.expire_stream(&settings, now);
        }
    }

    /// Stores for one durable alone; says whether the durable exists.
    fn store_for(&mut self, app: &Arc<str>, durable: &Arc<str>, frame: Bytes, identity: u128, delay: Duration) -> bool {
        let (settings, now) = (self.settings, Instant::now());
        let app = self.app(app);
        let Some(state) = app.durables.get_mut(durable) else { return false };
        if app.stream.admit(identity, now, &settings) {
            let sequence = app.stream.number();
            state.keep(sequence, frame);
            app.timers.insert((now + delay, durable.clone(), sequence, Timer::ComesDue));
        }
        true
    }

    /// Delivers what is due, to those who asked for it: of one durable, or of all.
    fn pump(&mut self, app: &Arc<str>, only: Option<&Arc<str>>) {
        let now = Instant::now();
        let Some(back) = self.back.upgrade() else { return };
        let Some(state) = self.apps.get_mut(app) else { return };
        let names: Vec<_> = match only {
            Some(name) => vec![name.clone()],
            None => state.durables.keys().cloned().collect(),
        };
        for name in names {
            let Some(durable) = state.durables.get_mut(&name) else { continue };
            while let Some(due) = durable.next_due(&mut state.stream, now) {
                let ends = now + durable.spec.ack_wait;
                state.timers.insert((ends, name.clone(), due.sequence, Timer::LeaseEnds));
                let fate = match self.faults.none() {
                    true => Fate::Pass,
                    false => self.faults.decide(Traffic::Delivery, "", "", &due.node),
                };
                if fate == Fate::Lose {
                    // What was lost on the way was not received: the node still waits for it.
                    durable.pull(&due.node, due.incarnation, 1);
                }
                hand_over(app, &name, due, fate, &back);
            }
        }
    }

    fn fire_timers(&mut self) {
        let now = Instant::now();
        let mut pumped = Vec::new();
        for (name, app) in &mut self.apps {
            while let Some(timer) = app.timers.first()
                && timer.0 <= now
                && let Some((_, durable, sequence, timer)) = app.timers.pop_first()
            {
                let Some(state) = app.durables.get_mut(&durable) else { continue };
                match timer {
                    Timer::ComesDue => state.make_ready(sequence),
                    Timer::LeaseEnds => {
                        let ended = state.open.get(&sequence).is_some_and(|open| open.lease_ends <= now);
                        if ended && state.take_back(sequence) {
                            state.make_ready(sequence);
                        }
                    }
                }
                pumped.push((name.clone(), durable));
            }
        }
        for (app, durable) in pumped {
            self.pump(&app, Some(&durable));
        }
    }

    fn keep_house(&mut self) {
        let (settings, now) = (self.settings, Instant::now());
        for app in self.apps.values_mut() {
            app.expire_stream(&settings, now);
            for durable in app.durables.values_mut() {
                durable.note_absence(now);
            }
            let expired: Vec<_> = app
                .durables
                .iter()
                .filter(|(_, durable)| match (durable.alone_since, durable.spec.lifetime) {
                    (Some(since), Some(lifetime)) => now.duration_since(since) >= lifetime,
                    _ => false,
                })
                .map(|(name, _)| name.clone())
                .collect();
            for name in expired {
                app.forget(&name);
            }
            while let Some(oldest) = app.dead.first_entry()
                && now.duration_since(oldest.get().0) >= settings.dead_letter_age
            {
                let (_, (_, letter)) = oldest.remove_entry();
                app.dead_ids.remove(&letter.id);
            }
        }
    }
}

fn parcel(app: &Arc<str>, to: &Arc<str>, content: Content) -> Parcel {
    Parcel { app: app.clone(), to: to.clone(), content }
}

impl Parcel {
    /// A second copy, for what can be doubled.
    fn twin(&self) -> Option<Self> {
        let content = match &self.content {
            Content::Event(envelope) => Content::Event(envelope.clone()),
            Content::Request(envelope) => Content::Request(envelope.clone()),
            Content::Announcement(announcement) => Content::Announcement(announcement.clone()),
            Content::Reply(Reply { token, result: Ok(payload) }) => {
                Content::Reply(Reply::new(*token, Ok(payload.clone())))
            }
            Content::Reply(_) => return None,
        };
        Some(Self { app: self.app.clone(), to: self.to.clone(), content })
    }
}

impl App {
    fn new() -> Self {
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

    fn join(&mut self, node: Registration, commands: &mpsc::Sender<Command>) -> (Inbox, Vec<Box<dyn Consumer>>) {
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

    fn leave(&mut self, from: &From, for_good: bool) {
        if self.nodes.get(&from.node).is_some_and(|node| node.incarnation == from.incarnation) {
            self.nodes.remove(&from.node);
        }
        let now = Instant::now();
        let mut own = Vec::new();
        for (name, durable) in &mut self.durables {
            let member = durable.is_member(&from.node);
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
    fn forget(&mut self, name: &Arc<str>) {
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

    fn settle(&mut self, name: &Arc<str>, sequence: u64, deliveries: u32, settlement: Settlement) {
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

    fn expire_stream(&mut self, settings: &Settings, now: Instant) {
        while let Some((sequence, stored)) = self.stream.expire(now, settings) {
            for durable in self.durables.values_mut() {
                durable.lose(sequence, &stored.name);
            }
        }
    }

    /// Answers a request that could not be delivered, in the name of the node that it was for.
    fn refuse(&self, envelope: &Envelope, kind: ErrorKind, text: &str) {
        let (Some(request), Some(asker)) = (&envelope.request, self.nodes.get(&envelope.source)) else { return };
        drop(asker.inbox.replies.try_send(Reply::new(request.token, Err(Error::not_started(kind, text)))));
    }

    fn bury(&mut self, letter: DeadLetter) {
        if self.dead_ids.contains_key(&letter.id) {
            return;
        }
        self.dead_ids.insert(letter.id, self.next_dead);
        self.dead.insert(self.next_dead, (Instant::now(), letter));
        self.next_dead += 1;
    }

    fn dead_letters(&self, after: Option<MessageId>, limit: usize) -> Vec<DeadLetter> {
        let start = after.and_then(|id| self.dead_ids.get(&id)).map_or(0, |order| order + 1);
        self.dead.range(start..).take(limit).map(|(_, (_, letter))| letter.clone()).collect()
    }

    fn delete_dead(&mut self, id: MessageId) -> bool {
        self.dead_ids.remove(&id).is_some_and(|order| self.dead.remove(&order).is_some())
    }

    /// What waits for the durables that this node consumes.
    fn backlog(&self, node: &str, incarnation: u64) -> usize {
        let own = self.durables.values().filter(|durable| durable.serves(node, incarnation));
        own.map(|durable| durable.backlog(&self.stream)).sum()
    }

    #[cfg(feature = "testing")]
    fn pending(&self) -> Pending {
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

/// Gives a delivery to the node that asked for it, as its fate wants.
fn hand_over(app: &Arc<str>, durable: &Arc<str>, due: Due, fate: Fate, back: &mpsc::Sender<Command>) {
    let make = || {
        let messages = frame::decode_messages(&due.frame).map_err(|error| (due.frame.clone(), error));
        let settle = SettleInProcess {
            from: From { app: app.clone(), node: due.node.clone(), incarnation: due.incarnation },
            durable: durable.clone(),
            sequence: due.sequence,
            deliveries: due.deliveries,
            commands: back.clone(),
        };
        Consumed::Delivery(Delivery::new(due.sequence, due.deliveries, messages, Arc::new(settle)))
    };
    match fate {
        // The consumer's queue holds what it asked for; if the node died meanwhile, the lease ends.
        Fate::Pass => drop(due.sender.try_send(make())),
        Fate::Lose => {}
        Fate::Double => {
            drop(due.sender.try_send(make()));
            drop(due.sender.try_send(make()));
        }
        Fate::Delay(delay) => {
            let (delivery, sender) = (make(), due.sender.clone());
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                drop(sender.send(delivery).await);
            });
        }
    }
}

/// The deliveries of one durable to one node.
struct InProcessConsumer {
    from: From,
    durable: Arc<str>,
    commands: mpsc::Sender<Command>,
    receiver: mpsc::Receiver<Consumed>,
    /// Deliveries asked for and not received.
    asked: usize,
}

impl Consumer for InProcessConsumer {
    fn next(&mut self, more: bool) -> BoxFuture<'_, Option<Consumed>> {
        Box::pin(async move {
            if more && self.asked <= CREDIT / 2 {
                let credit = CREDIT - self.asked;
                // Counted when there is certainly room for the command: a dropped future asks again.
                if let Ok(place) = self.commands.reserve().await {
                    self.asked = CREDIT;
                    place.send(Command::Pull { from: self.from.clone(), durable: self.durable.clone(), credit });
                }
            }
            let consumed = self.receiver.recv().await;
            if let Some(Consumed::Delivery(_)) = consumed {
                self.asked = self.asked.saturating_sub(1);
            }
            consumed
        })
    }

    fn close(&mut self) -> BoxFuture<'_, Vec<Delivery>> {
        Box::pin(async move {
            let (from, durable) = (self.from.clone(), self.durable.clone());
            drop(super::ask(&self.commands, |done| Command::Unsubscribe { from, durable, done }).await);
            let mut rest = Vec::new();
            while let Ok(consumed) = self.receiver.try_recv() {
                if let Consumed::Delivery(delivery) = consumed {
                    rest.push(delivery);
                }
            }
            rest
        })
    }
}

/// Settles one delivery.
struct SettleInProcess {
    from: From,
    durable: Arc<str>,
    sequence: u64,
    deliveries: u32,
    commands: mpsc::Sender<Command>,
}

impl std::fmt::Debug for SettleInProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SettleInProcess({}, {})", self.durable, self.sequence)
    }
}

impl Settle for SettleInProcess {
    fn settle(&self, settlement: Settlement) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let (from, durable) = (self.from.clone(), self.durable.clone());
            let (sequence, deliveries) = (self.sequence, self.deliveries);
            let command = Command::Settle { from, durable, sequence, deliveries, settlement };
            self.commands.send(command).await.map_err(|_| super::gone())
        })
    }
}
