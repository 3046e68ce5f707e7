//! Where a history is written: outside of every node, so that it outlives their kills.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;

use crate::history::{Entry, History, What};

/// How often it looks.
const LOOK: Duration = Duration::from_millis(1);

/// Where a history is written; every clone is the same journal.
#[derive(Clone)]
pub struct Journal {
    start: Instant,
    history: Arc<Mutex<History>>,
}

impl Journal {
    pub fn new() -> Self {
        Self { start: Instant::now(), history: Arc::default() }
    }

    pub fn record(&self, node: &str, what: What) {
        let entry = Entry { at: self.start.elapsed(), node: node.into(), what };
        self.lock().0.push(entry);
    }

    /// What happened so far.
    pub fn history(&self) -> History {
        self.lock().clone()
    }

    /// Waits until as many entries as wanted fit.
    pub async fn wait_for(&self, wanted: usize, patience: Duration, fits: impl Fn(&Entry) -> bool) {
        let end = Instant::now() + patience;
        let found = || self.lock().0.iter().filter(|entry| fits(entry)).count();
        while found() < wanted {
            assert!(Instant::now() < end, "only {} of {wanted} entries after {patience:?}", found());
            tokio::time::sleep(LOOK).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        // A test that panicked while it held the lock has left nothing half done.
        self.history.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
