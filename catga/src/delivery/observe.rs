//! What a node did, for whoever records it: the test harness.

use std::sync::Arc;

use super::node::Node;
use crate::{error::Failure, id::MessageId};

/// Something that a node did with a message.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[cfg_attr(not(feature = "testing"), expect(dead_code, unreachable_pub, reason = "read by the recorder of tests"))]
pub enum Occurrence {
    /// A request was sent, or an event published, by a caller.
    Sent,
    /// An event left because the handler that emitted it had succeeded.
    Emitted,
    /// A handler ended with success.
    Handled {
        /// The handler.
        handler: Arc<str>,
        /// The number of the run.
        attempt: u32,
    },
    /// A handler ended in failure.
    Failed {
        /// The handler.
        handler: Arc<str>,
        /// The number of the run.
        attempt: u32,
        /// What it answered.
        failure: Failure,
    },
    /// A dead letter was stored.
    DeadLettered {
        /// The handler that gave up.
        handler: Option<Arc<str>>,
        /// How often it ran.
        attempts: u32,
    },
    /// A repeat was recognised and not handled again.
    Duplicate {
        /// The handler that has handled it already.
        handler: Arc<str>,
    },
    /// An event of QoS 0 was dropped.
    Dropped,
}

/// Told of what a node does; called on the path of messages, so it must be quick.
pub(crate) trait Observer: Send + Sync + 'static {
    /// A node has been built.
    fn joined(&self, node: &Arc<Node>);
    fn observe(&self, node: &Arc<str>, message: &str, id: MessageId, occurrence: Occurrence);
}
