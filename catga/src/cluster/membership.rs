//! The task that keeps the node table: announces this node, listens to the others, notices silence.

use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{
    Cluster, ClusterChange,
    record::{Announcement, Record},
    snapshot::{NodeView, Vitals},
};
use crate::transport::Link;

/// The most nodes in the table; further ones are not taken up, and a log line says so.
pub const MAX_NODES: usize = 4_096;
/// After how many times of silence a node that never said goodbye is forgotten.
const FORGET_AFTER: u32 = 120;
/// The most announcements that are taken in at a time; the snapshot is made anew once for all of them.
const AT_A_TIME: usize = 128;
/// How long a node that has answered who joined leaves the next ones without an answer, for each node that it knows: so
/// no node hears much more than a thousand answers a second, however many start together.
const BETWEEN_ANSWERS: Duration = Duration::from_millis(1);
/// The most of that: a request waits longer for a node that handles it.
const MAX_BETWEEN_ANSWERS: Duration = Duration::from_millis(100);

/// Keeps the node table of one node.
pub(crate) struct Membership {
    pub(crate) own: Record,
    /// Counts what runs or waits here.
    pub(crate) load: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Told when another node took this one's id.
    pub(crate) replaced: Arc<dyn Fn() + Send + Sync>,
    pub(crate) cluster: Cluster,
    pub(crate) link: Arc<dyn Link>,
    pub(crate) inbox: mpsc::Receiver<Bytes>,
    pub(crate) heartbeat: Duration,
    pub(crate) silence: Duration,
    pub(crate) members: BTreeMap<Arc<str>, Member>,
    /// Nodes that left, with their incarnation and when: a late word of theirs does not bring them back.
    pub(crate) left: BTreeMap<Arc<str>, (u64, Instant)>,
    pub(crate) pending: Pending,
    /// Fires when this node leaves.
    pub(crate) stop: CancellationToken,
}

/// What follows from the words heard so far, once for all of them.
#[derive(Default)]
pub(crate) struct Pending {
    /// Whether the snapshot is to be made anew.
    stale: bool,
    /// What is told when the snapshot shows it.
    changes: Vec<ClusterChange>,
    /// Whether somebody wants to know this node. The answer goes to all, so one serves all who asked.
    asked: bool,
    /// When this node answered last.
    answered: Option<Instant>,
}

/// Why the task woke.
enum Woken {
    /// So many announcements; none means that there will be no more.
    Heard(usize),
    Stopped,
    Tick,
    /// A member falls silent, or an answer is due.
    Due,
}

/// Another node.
pub(crate) struct Member {
    view: Arc<NodeView>,
    requests_hash: u64,
    /// On this node's monotonic clock.
    last_seen: Instant,
}

impl Membership {
    /// Announces this node until the future is dropped.
    pub(crate) async fn run(mut self) {
        self.announce(&Announcement::Joining(self.record(true))).await;
        let mut ticks = tokio::time::interval_at(Instant::now() + self.heartbeat, self.heartbeat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut expected = Instant::now() + self.heartbeat;
        let mut words = Vec::new();
        loop {
            // Between heartbeats the task wakes when the next member would fall silent.
            let silence =
                self.members.values().filter(|member| member.view.online).map(|member| member.last_seen).min();
            let silence = silence.map_or_else(|| expected + self.silence, |seen| seen + self.silence);
            let due = self.answer_due().map_or(silence, |answer| answer.min(silence));
            let woken = tokio::select! {
                biased;
                count = self.inbox.recv_many(&mut words, AT_A_TIME) => Woken::Heard(count),
                () = self.stop.cancelled() => Woken::Stopped,
                _ = ticks.tick() => Woken::Tick,
                () = tokio::time::sleep_until(due) => Woken::Due,
            };
            // Before anything else: if this node itself slept, nobody was silent.
            let now = Instant::now();
            self.forgive(now.saturating_duration_since(expected.min(silence)));
            match woken {
                // This node has lost its place; the task of its requests sees that too, and ends it.
                Woken::Heard(0) => return,
                Woken::Heard(_) => {
                    for bytes in words.drain(..) {
                        self.hear(&bytes).await;
                    }
                }
                Woken::Stopped => {
                    let (node, incarnation) = (self.own.node.clone(), self.own.incarnation);
                    return self.announce(&Announcement::Leaving { node, incarnation }).await;
                }
                Woken::Tick => {
                    expected = now + self.heartbeat;
                    self.announce(&Announcement::Here(self.record(false))).await;
                    self.forget(now);
                }
                Woken::Due => {}
            }
            self.notice_silence(now);
            self.settle().await;
        }
    }

    /// Shows and says what follows from all that was heard.
    async fn settle(&mut self) {
        if mem::take(&mut self.pending.stale) {
            self.publish();
        }
        self.pending.changes.drain(..).for_each(|change| self.cluster.tell(change));
        if self.answer_due().is_some_and(|due| due <= Instant::now()) {
            (self.pending.asked, self.pending.answered) = (false, Some(Instant::now()));
            self.announce(&Announcement::Here(self.record(true))).await;
        }
    }

    /// When those who asked are answered: at once, unless others were answered just before.
    fn answer_due(&self) -> Option<Instant> {
        let count = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let pause = BETWEEN_ANSWERS.saturating_mul(count).min(MAX_BETWEEN_ANSWERS);
        let due = self.pending.answered.map_or_else(Instant::now, |answered| answered + pause);
        self.pending.asked.then_some(due)
    }

    fn record(&self, with_requests: bool) -> Record {
        let mut record = self.own.clone();
        record.load = (self.load)();
        if !with_requests {
            record.requests = None;
        }
        if let Some(own) = self.cluster.table().load().get(&self.own.node) {
            own.vitals.seen(record.load);
        }
        record
    }

    async fn announce(&self, announcement: &Announcement) {
        if let Err(error) = self.link.announce(announcement.encode()).await {
            tracing::warn!(target: "catga::cluster", %error, "this node could not announce itself");
        }
    }

    async fn hear(&mut self, bytes: &[u8]) {
        match Announcement::decode(bytes) {
            Some(Announcement::Joining(record)) => {
                if let Some(incarnation) = self.known_later(&record) {
                    self.announce(&Announcement::Behind { node: record.node, incarnation }).await;
                } else if self.take_up(record) {
                    self.pending.asked = true;
                }
            }
            Some(Announcement::Here(record)) => {
                let node = record.node.clone();
                let known = self.members.get(&node).map(|member| (member.requests_hash, member.view.incarnation));
                let asks = record.requests.is_none() && known != Some((record.requests_hash, record.incarnation));
                if self.take_up(record) && asks {
                    self.announce(&Announcement::Who { node }).await;
                }
            }
            Some(Announcement::Leaving { node, incarnation }) => {
                if self.left.len() < MAX_NODES {
                    self.left.insert(node.clone(), (incarnation, Instant::now()));
                }
                if self.members.get(&node).is_some_and(|member| member.view.incarnation <= incarnation) {
                    self.members.remove(&node);
                    self.changed(Some(ClusterChange::Left(node.to_string())));
                }
            }
            Some(Announcement::Who { node }) if node == self.own.node => self.pending.asked = true,
            Some(Announcement::Behind { node, incarnation }) if node == self.own.node => {
                self.overtake(incarnation).await;
            }
            Some(Announcement::Who { .. } | Announcement::Behind { .. }) => {}
            None => tracing::debug!(target: "catga::cluster", "an announcement could not be read"),
        }
    }

    /// The number that a node is known to have had since: this is a late word, or its clock was set back.
    fn known_later(&self, record: &Record) -> Option<u64> {
        if record.node == self.own.node {
            return (self.own.incarnation > record.incarnation).then_some(self.own.incarnation);
        }
        let known = self.members.get(&record.node).map(|member| &member.view);
        // One that has fallen silent has no late words.
        let known = known.filter(|view| view.online && view.incarnation > record.incarnation);
        let left = self.left.get(&record.node).map(|(incarnation, _)| *incarnation);
        let left = left.filter(|incarnation| *incarnation >= record.incarnation);
        known.map(|view| view.incarnation).max(left)
    }

    /// Goes on under a number behind that one, which this node's id had before its clock was set back. The later of two live
    /// nodes then has the larger number, too.
    async fn overtake(&mut self, incarnation: u64) {
        let Some(next) = incarnation.checked_add(1) else { return };
        if incarnation <= self.own.incarnation {
            // Another one has said so before.
            return;
        }
        tracing::warn!(target: "catga::cluster", "the clock of this machine is behind an earlier start of this node");
        self.own.incarnation = next;
        self.changed(None);
        self.announce(&Announcement::Joining(self.record(true))).await;
    }

    /// Takes up what a node says about itself; says whether it was news of another node.
    fn take_up(&mut self, record: Record) -> bool {
        if record.node == self.own.node {
            // A smaller one is this node's former self, which hears of this one and ends.
            if record.incarnation > self.own.incarnation {
                (self.replaced)();
            }
            return false;
        }
        let known = self.members.get(&record.node);
        if known.is_none() && self.members.len() + 1 >= MAX_NODES {
            tracing::error!(target: "catga::cluster", node = %record.node, limit = MAX_NODES, "the node table is full");
            return false;
        }
        if self.known_later(&record).is_some() {
            // A late word of one that left, or of the former self of one that is there.
            return false;
        }
        let same = known.filter(|member| member.view.incarnation == record.incarnation);
        let unchanged = same.is_some_and(|member| {
            member.view.online && (record.requests.is_none() || member.requests_hash == record.requests_hash)
        });
        if unchanged {
            if let Some(member) = self.members.get_mut(&record.node) {
                member.last_seen = Instant::now();
                member.view.vitals.seen(record.load);
            }
            return true;
        }
        let change = match (known, same) {
            (None, _) => Some(ClusterChange::Joined(record.node.to_string())),
            (Some(_), None) => Some(ClusterChange::Restarted(record.node.to_string())),
            (_, Some(member)) if !member.view.online => Some(ClusterChange::Returned(record.node.to_string())),
            _ => None,
        };
        let vitals = same.map_or_else(|| Arc::new(Vitals::new()), |member| member.view.vitals.clone());
        vitals.seen(record.load);
        let (requests, requests_hash) = match (record.requests, same) {
            (Some(requests), _) => (requests.into(), record.requests_hash),
            (None, Some(member)) => (member.view.requests.clone(), member.requests_hash),
            // A hash that cannot fit: the list is asked for.
            (None, None) => (Arc::from([]), 0),
        };
        let view = NodeView {
            id: record.node.clone(),
            incarnation: record.incarnation,
            started_ms: record.started_ms,
            endpoint: record.endpoint,
            requests,
            online: true,
            own: false,
            vitals,
        };
        let member = Member { view: Arc::new(view), requests_hash, last_seen: Instant::now() };
        self.members.insert(record.node, member);
        self.changed(change);
        true
    }

    /// A pause of this node itself is nobody's silence.
    fn forgive(&mut self, late: Duration) {
        if late > self.heartbeat {
            for member in self.members.values_mut() {
                member.last_seen += late;
            }
        }
    }

    fn notice_silence(&mut self, now: Instant) {
        let mut silent = Vec::new();
        for (node, member) in &mut self.members {
            if member.view.online && now.saturating_duration_since(member.last_seen) >= self.silence {
                member.view = Arc::new(NodeView { online: false, ..NodeView::clone(&member.view) });
                silent.push(node.to_string());
            }
        }
        silent.into_iter().for_each(|node| self.changed(Some(ClusterChange::Silent(node))));
    }

    fn forget(&mut self, now: Instant) {
        // Longer than that no word of a node is on its way: it would count as offline.
        self.left.retain(|_, (_, at)| now.saturating_duration_since(*at) < self.silence);
        let count = self.members.len();
        let limit = self.silence * FORGET_AFTER;
        self.members.retain(|_, member| member.view.online || now.saturating_duration_since(member.last_seen) < limit);
        if self.members.len() != count {
            self.changed(None);
        }
    }

    fn changed(&mut self, change: Option<ClusterChange>) {
        self.pending.stale = true;
        self.pending.changes.extend(change);
    }

    fn publish(&self) {
        let table = self.cluster.table();
        let own = table.load().get(&self.own.node).cloned();
        let own = own.map(|own| match own.incarnation == self.own.incarnation {
            true => own,
            false => Arc::new(NodeView { incarnation: self.own.incarnation, ..NodeView::clone(&own) }),
        });
        table.replace(self.members.values().map(|member| member.view.clone()).chain(own));
    }
}
