//! The broker: one task that owns everything that nodes of one process share.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rustc_hash::FxHashMap;
use tokio::{sync::mpsc, time::Instant};

#[cfg(feature = "testing")]
use super::command::Pending;
use super::{
    Settings,
    app::{App, Timer},
    command::{Command, Content, From, Parcel, parcel},
    consumer::hand_over,
    faults::{Fate, Faults, Traffic},
};
use crate::{error::ErrorKind, frame};

/// How often the broker looks for what has grown too old.
const HOUSEKEEPING: Duration = Duration::from_secs(30);

/// Everything that nodes of one process share.
pub(super) struct Broker {
    settings: Settings,
    commands: mpsc::Receiver<Command>,
    /// For what a fault delays; weak, so that the broker ends with the last node and the last handle.
    back: mpsc::WeakSender<Command>,
    apps: FxHashMap<Arc<str>, App>,
    faults: Faults,
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
                () = timer => {}
                _ = housekeeping.tick() => self.keep_house(),
                command = self.commands.recv() => match command {
                    Some(command) => self.handle(command),
                    None => return,
                },
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
                let settings = self.settings;
                let stored = self.app(&from.app).store(&name, frame, identity, &settings);
                self.pump(&from.app, None);
                if self.faults.decide(Traffic::StoreConfirmation, &name, &from.node, "") != Fate::Lose {
                    let _ = done.send(stored);
                }
            }
            Command::StoreFor { from, durable, frame, identity, delay, done } => {
                let fate = self.faults.decide(Traffic::Store, "", &from.node, "");
                if fate == Fate::Lose {
                    return;
                }
                let settings = self.settings;
                let stored = self.app(&from.app).store_for(&durable, frame, identity, delay, &settings);
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
                self.app(&from.app).settle(&from, &durable, sequence, deliveries, settlement);
                self.pump(&from.app, Some(&durable));
            }
            Command::Bury { from, letter, done } => {
                if self.faults.decide(Traffic::Store, "", &from.node, "") == Fate::Lose {
                    return;
                }
                let settings = self.settings;
                self.app(&from.app).dead_letters.bury(*letter, &settings);
                let _ = done.send(());
            }
            Command::DeadLetters { app, after, limit, done } => {
                drop(done.send(self.app(&app).dead_letters.list(after, limit)))
            }
            Command::DeadLetter { app, id, done } => {
                drop(done.send(self.app(&app).dead_letters.get(id).cloned()));
            }
            Command::DeleteDeadLetter { app, id, done } => drop(done.send(self.app(&app).dead_letters.delete(id))),
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
        // Faults strike one event; without any, those that came together arrive together.
        let together = if self.faults.none() { envelopes.len() } else { 1 };
        for to in targets {
            for events in envelopes.chunks(together.max(1)) {
                let content = Content::Events(events.to_vec());
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
                self.deliver(parcel.twin());
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
            Content::Events(envelopes) => node.inbox.events(envelopes),
            Content::Reply(reply) => node.inbox.reply(reply),
            Content::Announcement(announcement) => drop(node.inbox.cluster.try_send(announcement)),
            Content::Request(envelope) => match node.inbox.queue_of(&envelope).try_send(envelope) {
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
                    Timer::LeaseEnds => state.end_lease(sequence, now),
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
            app.keep_house(&settings, now);
        }
    }
}
