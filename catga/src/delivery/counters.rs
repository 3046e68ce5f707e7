//! What a node counts: above all, what it could not do.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counts of one node since its start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    dropped: AtomicU64,
    gaps: AtomicU64,
    late_replies: AtomicU64,
    retries: AtomicU64,
    failed: AtomicU64,
    dead_letters: AtomicU64,
    lagged: AtomicU64,
    duplicates: AtomicU64,
    refused: AtomicU64,
    late_emissions: AtomicU64,
    lost_replies: AtomicU64,
}

/// What a node has counted since its start; see [`Mediator::counts`](crate::Mediator::counts).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Events of QoS 0 that this node dropped: no room, or no connection.
    pub dropped: u64,
    /// Events of QoS 0 that this node did not take in, seen as gaps in their senders' sequences: what was lost on the way,
    /// and what found no room here, which `dropped` counts too.
    pub gaps: u64,
    /// Replies that came when nobody waited any more.
    pub late_replies: u64,
    /// Runs of a handler after a first one that failed.
    pub retries: u64,
    /// Events of QoS 0 that a handler gave up.
    pub failed: u64,
    /// Dead letters that this node stored.
    pub dead_letters: u64,
    /// Reliable events that were gone before this node took them.
    pub lagged: u64,
    /// Deliveries that were recognised as repeats and not handled again.
    pub duplicates: u64,
    /// Requests that were refused because a queue or the memory was full.
    pub refused: u64,
    /// Events that were emitted when their handler had ended, and never left.
    pub late_emissions: u64,
    /// Replies that found no room in the queue of this node; they are asked for again.
    pub lost_replies: u64,
}

macro_rules! count {
    ($($name:ident),*) => {
        $(pub(crate) fn $name(&self, count: u64) {
            self.$name.fetch_add(count, Ordering::Relaxed);
        })*
    };
}

impl Counters {
    count!(
        late_replies,
        retries,
        failed,
        dead_letters,
        lagged,
        duplicates,
        refused,
        gaps,
        late_emissions,
        lost_replies
    );

    /// Counts dropped events, and says so once in a while: with the 1st, the 2nd, the 4th, the 8th and so on.
    pub(crate) fn drop_events(&self, count: u64, reason: &str) {
        let before = self.dropped.fetch_add(count, Ordering::Relaxed);
        if (before + count).ilog2() > before.checked_ilog2().unwrap_or(0) || before == 0 {
            tracing::warn!(target: "catga::delivery", total = before + count, reason, "events of QoS 0 were dropped");
        }
    }

    pub(crate) fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            dropped: read(&self.dropped),
            gaps: read(&self.gaps),
            late_replies: read(&self.late_replies),
            retries: read(&self.retries),
            failed: read(&self.failed),
            dead_letters: read(&self.dead_letters),
            lagged: read(&self.lagged),
            duplicates: read(&self.duplicates),
            refused: read(&self.refused),
            late_emissions: read(&self.late_emissions),
            lost_replies: read(&self.lost_replies),
        }
    }
}
