//! Identifiers of messages: minted once, carried on every attempt, derived where a repeat must be recognised.

use std::{
    cell::Cell,
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The identity of a message: 128 bits in the layout of a UUID, shown as one.
///
/// A fresh id has the layout of version 7 of RFC 9562: milliseconds, then 74 bits from a counter that starts at random
/// on each thread. A derived id has that of version 8: a hash, so that the same cause gives the same id again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(Uuid);

const VERSION_7: u128 = 7 << 76;
const VERSION_8: u128 = 8 << 76;
const VARIANT: u128 = 0b10 << 62;
/// The 12 bits behind the version and the 62 bits behind the variant.
const FREE_BITS: u128 = (0xfff << 64) | ((1 << 62) - 1);

thread_local! {
    // One generator a thread: the process-wide generator of the uuid crate takes a lock.
    static COUNTER: Cell<u128> = Cell::new(u128::from(fastrand::u64(..)) << 64 | u128::from(fastrand::u64(..)));
}

impl MessageId {
    /// Mints a new id.
    #[expect(clippy::new_without_default, reason = "a default value would look like a constant")]
    pub fn new() -> Self {
        Self::minted(now_millis())
    }

    /// A new id of this time, for those who have looked at the clock.
    pub(crate) fn minted(millis: u64) -> Self {
        let count = COUNTER.with(|counter| {
            let next = counter.get().wrapping_add(1);
            counter.set(next);
            next
        });
        // The counter's low 62 bits and the next 12 fill the free bits in place.
        let free = (count & ((1 << 62) - 1)) | (((count >> 62) & 0xfff) << 64);
        Self(Uuid::from_u128((u128::from(millis) << 80) | VERSION_7 | VARIANT | free))
    }

    /// The id that the same parts always give.
    pub(crate) fn derived(parts: &[&[u8]]) -> Self {
        Self(Uuid::from_u128((fingerprint(parts) & (FREE_BITS | (!0u128 << 80))) | VERSION_8 | VARIANT))
    }

    /// Whether it was derived: what has it may exist a second time, whoever made it.
    pub(crate) const fn is_derived(self) -> bool {
        self.as_u128() & (0xf << 76) == VERSION_8
    }

    /// The id as a number.
    pub const fn as_u128(self) -> u128 {
        self.0.as_u128()
    }

    /// The id that a number stands for, for example one that a store kept.
    pub const fn from_u128(value: u128) -> Self {
        Self(Uuid::from_u128(value))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MessageId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// 128 bits that stand for the parts and for where each one ends (XXH3; not for secrets).
pub(crate) fn fingerprint(parts: &[&[u8]]) -> u128 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.digest128()
}

/// 128 bits that stand for one part alone, faster than [`fingerprint`].
pub(crate) fn content(part: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(part)
}

/// Whether this can be the id of a node or the name of an application: it becomes part of other names.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// A number for one start of a node: larger at each start, also at two within a millisecond.
pub(crate) fn incarnation() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    // A thousand starts a millisecond are told apart, and the number stays below 2^53, which JSON carries anywhere.
    let now = now_millis() * 1_000;
    let later = |last: u64| Some(now.max(last + 1));
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later).unwrap_or(0);
    now.max(last + 1)
}

/// Milliseconds since 1970 on this machine's clock.
pub(crate) fn now_millis() -> u64 {
    let elapsed = SystemTime::UNIX_EPOCH.elapsed();
    let millis = elapsed.map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
    #[cfg(feature = "testing")]
    let millis = millis.saturating_add_signed(ahead_ms());
    millis
}

/// How wrong a test wants the clock of this process to be. All of it sees the same time, as on a machine of its own.
#[cfg(feature = "testing")]
fn ahead_ms() -> i64 {
    static AHEAD: std::sync::LazyLock<i64> = std::sync::LazyLock::new(|| {
        let wanted = std::env::var("CATGA_TEST_CLOCK_AHEAD_MS").ok();
        wanted.and_then(|wanted| wanted.parse().ok()).unwrap_or(0)
    });
    *AHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_ids_differ_and_have_the_layout_of_version_7() {
        let ids: std::collections::HashSet<_> = (0..10_000).map(|_| MessageId::new()).collect();
        assert_eq!(ids.len(), 10_000);
        for id in ids {
            assert_eq!(id.0.get_version_num(), 7);
            assert_eq!(id.0.get_variant(), uuid::Variant::RFC4122);
        }
    }

    #[test]
    fn a_derived_id_depends_on_where_its_parts_end() {
        assert_eq!(MessageId::derived(&[b"ab", b"c"]), MessageId::derived(&[b"ab", b"c"]));
        assert_ne!(MessageId::derived(&[b"ab", b"c"]), MessageId::derived(&[b"a", b"bc"]));
        assert_eq!(MessageId::derived(&[b"a"]).0.get_version_num(), 8);
        assert!(MessageId::derived(&[b"a"]).is_derived());
        assert!(!MessageId::new().is_derived());
    }

    #[test]
    fn an_id_reads_back_from_its_text() {
        let id = MessageId::new();
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
