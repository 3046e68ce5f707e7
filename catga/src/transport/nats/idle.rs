//! Which event types have been quiet: a lone event of one leaves in a form that every tool can read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

/// After how long without a message a type counts as quiet.
const QUIET: Duration = Duration::from_millis(10);

/// When something of each type last left.
pub(super) struct Idle {
    start: Instant,
    /// In milliseconds after the start, from 1; copied when a type is new, which it is once.
    last: ArcSwap<FxHashMap<Arc<str>, Arc<AtomicU64>>>,
}

impl Idle {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), last: ArcSwap::default() }
    }

    /// Takes note that something of this type leaves now; says whether it was quiet before.
    pub(super) fn leaves(&self, name: &Arc<str>) -> bool {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        if let Some(last) = self.last.load().get(name) {
            let before = last.swap(now, Ordering::Relaxed);
            return u128::from(now.saturating_sub(before)) >= QUIET.as_millis();
        }
        self.last.rcu(|known| {
            let mut known = FxHashMap::clone(known);
            known.entry(name.clone()).or_insert_with(|| Arc::new(AtomicU64::new(now)));
            known
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_type_is_quiet_at_first_and_after_a_while() {
        let idle = Idle::new();
        let (one, two) = (Arc::from("one"), Arc::from("two"));
        assert!(idle.leaves(&one));
        assert!(!idle.leaves(&one));
        assert!(idle.leaves(&two), "another type");
        tokio::time::sleep(QUIET).await;
        assert!(idle.leaves(&one));
        assert!(!idle.leaves(&one));
    }
}
