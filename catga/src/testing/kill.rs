//! A node that ends as `kill -9` would end it.

use std::sync::atomic::Ordering;

use tokio_util::sync::CancellationToken;

use crate::{builder::Builder, mediator::Mediator};

impl Builder {
    /// Makes a node that [`Mediator::kill`] can kill; it costs each of its tasks a little.
    #[must_use]
    pub fn killable(mut self) -> Self {
        self.kill = Some(CancellationToken::new());
        self
    }
}

impl Mediator {
    /// Ends the node as `kill -9` ends a process: its tasks stop where they stand, no code for shutting down runs, and what
    /// it held in memory is gone. Calls that wait on it end with `ShuttingDown` and an unknown outcome.
    ///
    /// Says whether the node was built [`killable`](Builder::killable); one that was not goes on.
    pub fn kill(&self) -> bool {
        let killed = self.node.tasks.kill();
        if killed {
            self.node.shutting_down.store(true, Ordering::Release);
        }
        if !killed {
            tracing::error!(target: "catga", node = self.node(), "this node was not built `killable`: it goes on");
        }
        killed
    }
}
