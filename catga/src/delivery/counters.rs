//! What a node counts: above all, what it could not do.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::middleware::meter::Shown;

/// One count, as the node itself knows it and as a recorder is shown it.
#[derive(Debug)]
struct Count {
    total: AtomicU64,
    shown: Shown,
}

impl Count {
    fn new(name: &'static str) -> Self {
        Self { total: AtomicU64::new(0), shown: Shown::count(name) }
    }

    fn add(&self, count: u64) -> u64 {
        self.shown.add(count);
        self.total.fetch_add(count, Ordering::Relaxed)
    }

    fn read(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

/// What a node has counted since its start; see [`Mediator::counts`](crate::Mediator::counts). With the feature `metrics` a
/// recorder is shown the same, under `catga.` and the name of the field.
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
    /// Reliable events that were gone before this node took them. Over NATS deliveries are counted, each of up to 32 events,
    /// and those that may not have been for this node, too: the server does not know any more.
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

macro_rules! counters {
    ($($name:ident),*) => {
        /// The counts of one node since its start.
        #[derive(Debug)]
        pub(crate) struct Counters {
            $($name: Count,)*
        }

        impl Counters {
            pub(crate) fn new() -> Self {
                Self { $($name: Count::new(concat!("catga.", stringify!($name))),)* }
            }

            $(
                /// Gives what it was before.
                pub(crate) fn $name(&self, count: u64) -> u64 {
                    self.$name.add(count)
                }
            )*

            pub(crate) fn read(&self) -> Counts {
                Counts { $($name: self.$name.read(),)* }
            }
        }
    };
}

counters!(
    dropped,
    gaps,
    late_replies,
    retries,
    failed,
    dead_letters,
    lagged,
    duplicates,
    refused,
    late_emissions,
    lost_replies
);

impl Counters {
    /// Counts dropped events, and says so once in a while: with the 1st, the 2nd, the 4th, the 8th and so on.
    pub(crate) fn drop_events(&self, count: u64, reason: &str) {
        let before = self.dropped(count);
        if (before + count).ilog2() > before.checked_ilog2().unwrap_or(0) || before == 0 {
            tracing::warn!(target: "catga::delivery", total = before + count, reason, "events of QoS 0 were dropped");
        }
    }
}
