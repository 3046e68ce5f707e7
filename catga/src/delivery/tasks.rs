//! The tasks of a node: each has an owner that waits for it at shutdown, or cuts it off.

use std::future::Future;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Spawns the tasks of one node.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    /// Cuts every task off where it stands; only a node that tests can kill has one, for it costs each task a little.
    kill: Option<CancellationToken>,
}

impl Tasks {
    pub(crate) fn new(kill: Option<CancellationToken>) -> Self {
        Self { tracker: TaskTracker::new(), kill }
    }

    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        match &self.kill {
            None => drop(self.tracker.spawn(future)),
            Some(kill) => {
                let kill = kill.clone();
                drop(self.tracker.spawn(async move {
                    tokio::select! {
                        // The kill first: what fails because of it must not get out as an answer.
                        biased;
                        () = kill.cancelled() => {}
                        () = future => {}
                    }
                }));
            }
        }
    }

    /// Waits until every task has ended.
    pub(crate) async fn wait(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    #[cfg(feature = "testing")]
    pub(crate) fn killed(&self) -> bool {
        self.kill.as_ref().is_some_and(CancellationToken::is_cancelled)
    }

    /// Completes when the node is killed; never for a node that cannot be.
    pub(crate) async fn until_killed(&self) {
        match &self.kill {
            Some(kill) => kill.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Cuts every task off; says whether this node can be killed.
    #[cfg(feature = "testing")]
    pub(crate) fn kill(&self) -> bool {
        self.kill.as_ref().map(CancellationToken::cancel).is_some()
    }
}
