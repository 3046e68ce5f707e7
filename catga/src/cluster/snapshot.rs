//! The node table: an immutable snapshot that readers load without a lock and one task replaces.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use crate::id::now_millis;

/// Where the current snapshot is.
#[derive(Debug)]
pub(crate) struct Table(ArcSwap<Snapshot>);

impl Table {
    pub(crate) fn new(own: NodeView) -> Self {
        Self(ArcSwap::from_pointee(Snapshot::new([Arc::new(own)])))
    }

    /// Hot: a few nanoseconds.
    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.0.load()
    }

    pub(super) fn replace(&self, nodes: impl IntoIterator<Item = Arc<NodeView>>) {
        self.0.store(Arc::new(Snapshot::new(nodes)));
    }
}

/// The nodes at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    nodes: BTreeMap<Arc<str>, Arc<NodeView>>,
    /// For each request type the live nodes that handle it, by id.
    handling: FxHashMap<Arc<str>, Vec<Arc<NodeView>>>,
    /// Whether any other node is alive.
    others: bool,
}

/// One node at one moment; what changes with every heartbeat is behind atomics.
#[derive(Clone, Debug)]
pub(crate) struct NodeView {
    pub(crate) id: Arc<str>,
    pub(crate) incarnation: u64,
    pub(crate) started_ms: u64,
    pub(crate) endpoint: Option<Arc<str>>,
    pub(crate) requests: Arc<[Arc<str>]>,
    pub(crate) online: bool,
    pub(crate) own: bool,
    pub(crate) vitals: Arc<Vitals>,
}

/// What changes often about a node.
#[derive(Debug)]
pub(crate) struct Vitals {
    load: AtomicU64,
    last_seen_ms: AtomicU64,
    /// Until when requests avoid the node, in milliseconds after `epoch`; 0 for not at all.
    avoided_until: AtomicU64,
    epoch: Instant,
}

impl Vitals {
    pub(crate) fn new() -> Self {
        Self {
            load: AtomicU64::new(0),
            last_seen_ms: AtomicU64::new(now_millis()),
            avoided_until: AtomicU64::new(0),
            epoch: Instant::now(),
        }
    }

    pub(crate) fn seen(&self, load: u64) {
        self.load.store(load, Ordering::Relaxed);
        self.last_seen_ms.store(now_millis(), Ordering::Relaxed);
    }

    pub(crate) fn load(&self) -> u64 {
        self.load.load(Ordering::Relaxed)
    }

    pub(crate) fn last_seen_ms(&self) -> u64 {
        self.last_seen_ms.load(Ordering::Relaxed)
    }

    /// Keeps requests away for a while, because one failed.
    pub(crate) fn avoid_for(&self, time: Duration) {
        let until = self.epoch.elapsed() + time;
        self.avoided_until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Ends the avoidance, because the node answered.
    pub(crate) fn trust(&self) {
        if self.avoided_until.load(Ordering::Relaxed) != 0 {
            self.avoided_until.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn avoided(&self) -> bool {
        // The clock is read only for a node that failed before.
        match self.avoided_until.load(Ordering::Relaxed) {
            0 => false,
            until => self.epoch.elapsed().as_millis() < u128::from(until),
        }
    }
}

impl Snapshot {
    fn new(nodes: impl IntoIterator<Item = Arc<NodeView>>) -> Self {
        let nodes: BTreeMap<_, _> = nodes.into_iter().map(|view| (view.id.clone(), view)).collect();
        let mut handling: FxHashMap<Arc<str>, Vec<_>> = FxHashMap::default();
        for view in nodes.values().filter(|view| view.online) {
            for name in &*view.requests {
                handling.entry(name.clone()).or_default().push(view.clone());
            }
        }
        let others = nodes.values().any(|view| view.online && !view.own);
        Self { nodes, handling, others }
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Arc<NodeView>> {
        self.nodes.values()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Arc<NodeView>> {
        self.nodes.get(id)
    }

    /// The live nodes that handle a request type, by id.
    pub(crate) fn handling(&self, name: &str) -> &[Arc<NodeView>] {
        self.handling.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether any other node is alive.
    pub(crate) fn others(&self) -> bool {
        self.others
    }
}
