//! Which messages a durable has handled lately: a pair of sets that take turns.
//!
//! One task owns it. New entries go into the younger set; when that is full or old, the elder is emptied and becomes the
//! younger. An entry is therefore known for at least one span and at most two. It does not survive a restart.

use std::time::Duration;

use rustc_hash::FxHashSet;
use tokio::time::Instant;

use crate::id::MessageId;

/// The most entries of one set: 64 MB for both at the most.
const MAX_ENTRIES: usize = 1_000_000;
/// How long a set takes entries.
const SPAN: Duration = Duration::from_secs(300);

/// A message and the number of a handler.
type Entry = (MessageId, u16);

#[derive(Debug)]
pub(crate) struct Recent {
    younger: FxHashSet<Entry>,
    elder: FxHashSet<Entry>,
    since: Instant,
}

impl Recent {
    pub(crate) fn new() -> Self {
        Self { younger: FxHashSet::default(), elder: FxHashSet::default(), since: Instant::now() }
    }

    pub(crate) fn insert(&mut self, id: MessageId, handler: u16) {
        if self.younger.len() >= MAX_ENTRIES || self.since.elapsed() >= SPAN {
            std::mem::swap(&mut self.younger, &mut self.elder);
            self.younger.clear();
            self.since = Instant::now();
        }
        self.younger.insert((id, handler));
    }

    pub(crate) fn contains(&self, id: MessageId, handler: u16) -> bool {
        self.younger.contains(&(id, handler)) || self.elder.contains(&(id, handler))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_entry_is_known_for_at_least_one_span_and_at_most_two() {
        let mut recent = Recent::new();
        let id = MessageId::new();
        recent.insert(id, 1);
        assert!(recent.contains(id, 1));
        assert!(!recent.contains(id, 2), "another handler has not handled it");
        tokio::time::advance(SPAN).await;
        recent.insert(MessageId::new(), 1);
        assert!(recent.contains(id, 1));
        tokio::time::advance(SPAN).await;
        recent.insert(MessageId::new(), 1);
        assert!(!recent.contains(id, 1));
    }
}
