//! Which nodes there are, and which of them handles what.
//!
//! Every node announces itself; every node keeps a table of the others. The table is a hint: it decides where a message
//! goes first, and no promise rests on it.

pub(crate) mod membership;
pub(crate) mod record;
pub(crate) mod routing;
pub(crate) mod snapshot;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use self::snapshot::{NodeView, Table};
pub use self::{membership::MAX_NODES, routing::Routing};

/// The nodes of the application, as this node sees them.
#[derive(Clone)]
pub struct Cluster {
    table: Arc<Table>,
    changes: broadcast::Sender<ClusterChange>,
    /// Fires when the node has shut down: nothing changes any more.
    ended: CancellationToken,
}

/// A node, as another one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// The node's id.
    pub id: String,
    /// Where it serves, if it says so.
    pub endpoint: Option<String>,
    /// Larger at each start of the node.
    pub incarnation: u64,
    /// When it started, in milliseconds since 1970 on its own clock.
    pub started_ms: u64,
    /// Handlers that run or wait on it.
    pub load: u64,
    /// When it was last heard of, in milliseconds since 1970.
    pub last_seen_ms: u64,
    /// Whether it was heard of within the time-out.
    pub online: bool,
}

/// Something that happened to the nodes of the application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterChange {
    /// A node joined that was not known.
    Joined(String),
    /// A node started again under its id.
    Restarted(String),
    /// A node said that it leaves.
    Left(String),
    /// A node was silent for too long.
    Silent(String),
    /// A silent node is heard of again.
    Returned(String),
    /// The reader was too slow: so many changes are missing. Look at [`Cluster::nodes`].
    Missed(u64),
}

/// The changes from now on; see [`Cluster::changes`].
pub struct ClusterChanges {
    changes: broadcast::Receiver<ClusterChange>,
    ended: CancellationToken,
}

impl ClusterChanges {
    /// The next change; `None` when the node has shut down.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<ClusterChange> {
        let change = tokio::select! {
            biased;
            change = self.changes.recv() => change,
            () = self.ended.cancelled() => return None,
        };
        match change {
            Ok(change) => Some(change),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(ClusterChange::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl fmt::Debug for ClusterChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterChanges(..)")
    }
}

/// How many changes wait for a slow reader.
const CHANGES: usize = 1_024;

impl Cluster {
    pub(crate) fn new(table: Arc<Table>, ended: CancellationToken) -> Self {
        Self { table, changes: broadcast::Sender::new(CHANGES), ended }
    }

    /// Every node that is known, this one included, by id.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.table.load().nodes().map(|view| view.info()).collect()
    }

    /// One node.
    pub fn node(&self, id: &str) -> Option<NodeInfo> {
        self.table.load().get(id).map(|view| view.info())
    }

    /// What happens from now on.
    ///
    /// ```
    /// # async fn watch(mediator: catga::Mediator) {
    /// let mut changes = mediator.cluster().changes();
    /// while let Some(change) = changes.next().await {
    ///     println!("{change:?}");
    /// }
    /// # }
    /// ```
    pub fn changes(&self) -> ClusterChanges {
        ClusterChanges { changes: self.changes.subscribe(), ended: self.ended.clone() }
    }

    pub(crate) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Tells whoever watches; nobody may.
    pub(crate) fn tell(&self, change: ClusterChange) {
        tracing::info!(target: "catga::cluster", ?change, "the cluster changed");
        drop(self.changes.send(change));
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.nodes()).finish()
    }
}

impl NodeView {
    fn info(&self) -> NodeInfo {
        NodeInfo {
            id: self.id.to_string(),
            endpoint: self.endpoint.as_deref().map(str::to_owned),
            incarnation: self.incarnation,
            started_ms: self.started_ms,
            load: self.vitals.load(),
            last_seen_ms: self.vitals.last_seen_ms(),
            online: self.online,
        }
    }
}
