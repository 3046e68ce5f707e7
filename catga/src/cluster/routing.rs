//! To which node a request goes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::snapshot::{NodeView, Snapshot};
use crate::id::fingerprint;

/// How a request without a key finds its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Routing {
    /// This node if it handles the request and has room, others in turn otherwise.
    #[default]
    LocalFirst,
    /// All live nodes that handle the request in turn, this one among them.
    RoundRobin,
}

/// Chooses among the live nodes that handle a request, passing over those that were tried and, while others are left,
/// those to be avoided.
pub(crate) fn choose<'a>(
    snapshot: &'a Snapshot,
    name: &str,
    key: Option<&str>,
    routing: Routing,
    turn: &AtomicUsize,
    tried: &[Arc<str>],
) -> Option<&'a Arc<NodeView>> {
    let untried = || snapshot.handling(name).iter().filter(|view| !tried.contains(&view.id));
    // The same key meets the same memory, whichever node was asked: what failed is not avoided, only what was tried.
    if let Some(key) = key {
        return untried().max_by_key(|view| weight(name, key, &view.id));
    }
    let avoid = untried().any(|view| !view.vitals.avoided());
    let candidates = || untried().filter(|view| !avoid || !view.vitals.avoided());
    if routing == Routing::LocalFirst
        && let Some(own) = candidates().find(|view| view.own)
    {
        return Some(own);
    }
    match candidates().count() {
        0 => None,
        count => candidates().nth(turn.fetch_add(1, Ordering::Relaxed) % count),
    }
}

/// The weight of a node for a key: rendezvous hashing, by which a node that joins or leaves moves only its own keys.
fn weight(name: &str, key: &str, node: &str) -> u128 {
    fingerprint(&[name.as_bytes(), key.as_bytes(), node.as_bytes()])
}
