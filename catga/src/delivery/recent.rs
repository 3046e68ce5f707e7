//! What a durable has done lately: a pair of sets that take turns.
//!
//! One task owns it. New entries go into the younger set; when that is full or old, the elder is emptied and becomes the
//! younger. An entry is therefore known for at least one span and at most two. It does not survive a restart.

use std::{hash::Hash, time::Duration};

use rustc_hash::FxHashSet;
use tokio::time::Instant;

/// The most entries of one set: 64 MB for both at the most.
const MAX_ENTRIES: usize = 1_000_000;
/// How long a set takes entries.
const SPAN: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(crate) struct Recent<T> {
    younger: FxHashSet<T>,
    elder: FxHashSet<T>,
    since: Instant,
}

impl<T: Eq + Hash> Recent<T> {
    pub(crate) fn new() -> Self {
        Self { younger: FxHashSet::default(), elder: FxHashSet::default(), since: Instant::now() }
    }

    /// Looks at the clock, once for all that a delivery brings: the sets take turns when a span is over.
    pub(crate) fn age(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.since) >= SPAN {
            self.turn();
            self.since = now;
        }
    }

    pub(crate) fn insert(&mut self, entry: T) {
        if self.younger.len() >= MAX_ENTRIES {
            self.turn();
            self.since = Instant::now();
        }
        self.younger.insert(entry);
    }

    fn turn(&mut self) {
        std::mem::swap(&mut self.younger, &mut self.elder);
        self.younger.clear();
    }

    pub(crate) fn contains(&self, entry: &T) -> bool {
        self.younger.contains(entry) || self.elder.contains(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_entry_is_known_for_at_least_one_span_and_at_most_two() {
        let mut recent = Recent::new();
        recent.insert("a");
        assert!(recent.contains(&"a"));
        assert!(!recent.contains(&"b"));
        tokio::time::advance(SPAN).await;
        recent.age();
        recent.insert("b");
        assert!(recent.contains(&"a"));
        tokio::time::advance(SPAN).await;
        recent.age();
        recent.insert("c");
        assert!(!recent.contains(&"a"));
    }
}
