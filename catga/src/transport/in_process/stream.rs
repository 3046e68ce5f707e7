//! The store of reliable events: numbered frames, kept until every durable has settled them or the horizon passes.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use rustc_hash::FxHashSet;
use tokio::time::Instant;

use super::Settings;

/// The most identities that are remembered: 48 MB. At more than 8,000 stores a second the window gets shorter.
const MAX_SEEN: usize = 1_000_000;

/// The stream of one application.
#[derive(Debug)]
pub(super) struct Stream {
    entries: BTreeMap<u64, Stored>,
    next: u64,
    bytes: usize,
    /// Identities within the duplicate window, and when each came.
    seen: FxHashSet<u128>,
    seen_at: VecDeque<(Instant, u128)>,
}

/// One frame in the store.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) name: Arc<str>,
    pub(super) frame: Bytes,
    pub(super) at: Instant,
    /// How many durables have yet to settle it.
    pub(super) owed: usize,
}

impl Stream {
    pub(super) fn new() -> Self {
        Self { entries: BTreeMap::new(), next: 1, bytes: 0, seen: FxHashSet::default(), seen_at: VecDeque::new() }
    }

    /// Says whether this identity is new within the window, and remembers it.
    pub(super) fn admit(&mut self, identity: u128, now: Instant, settings: &Settings) -> bool {
        while let Some((at, id)) = self.seen_at.front().copied()
            && (now.duration_since(at) >= settings.duplicate_window || self.seen_at.len() >= MAX_SEEN)
        {
            self.seen.remove(&id);
            self.seen_at.pop_front();
        }
        let new = self.seen.insert(identity);
        if new {
            self.seen_at.push_back((now, identity));
        }
        new
    }

    /// Whether this identity was stored before.
    pub(super) fn knows(&self, identity: u128) -> bool {
        self.seen.contains(&identity)
    }

    /// The number of the next entry.
    pub(super) fn head(&self) -> u64 {
        self.next
    }

    /// Takes the next number without storing anything under it.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    pub(super) fn push(&mut self, stored: Stored) -> u64 {
        self.bytes += stored.frame.len();
        let sequence = self.number();
        self.entries.insert(sequence, stored);
        sequence
    }

    pub(super) fn get(&self, sequence: u64) -> Option<&Stored> {
        self.entries.get(&sequence)
    }

    pub(super) fn from(&self, sequence: u64) -> impl Iterator<Item = (u64, &Stored)> {
        self.entries.range(sequence..).map(|(sequence, stored)| (*sequence, stored))
    }

    /// One durable has settled this entry; the last one frees it.
    pub(super) fn settle(&mut self, sequence: u64) {
        let Some(stored) = self.entries.get_mut(&sequence) else { return };
        stored.owed = stored.owed.saturating_sub(1);
        if stored.owed == 0 {
            self.remove(sequence);
        }
    }

    /// Takes the oldest entry if it is beyond the horizon.
    pub(super) fn expire(&mut self, now: Instant, settings: &Settings) -> Option<(u64, Stored)> {
        let (sequence, stored) = self.entries.first_key_value()?;
        let beyond = self.bytes > settings.max_bytes || now.duration_since(stored.at) >= settings.max_age;
        let sequence = beyond.then_some(*sequence)?;
        self.remove(sequence).map(|stored| (sequence, stored))
    }

    fn remove(&mut self, sequence: u64) -> Option<Stored> {
        let stored = self.entries.remove(&sequence)?;
        self.bytes -= stored.frame.len();
        Some(stored)
    }
}
