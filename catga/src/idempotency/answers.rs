//! The answers to messages that may come again: two maps that take turns, bounded by bytes and by age.
//!
//! New entries go into the younger map; when that is full or old, the elder goes and the younger takes its place. An
//! answer is therefore known for at least [`ASKED_AGAIN`], unless so many follow that they take half of the room.

use std::{collections::hash_map, sync::Arc};

use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::{ASKED_AGAIN, Key, Outcome, weight};

pub(super) struct Answers {
    younger: FxHashMap<Key, Arc<Outcome>>,
    elder: FxHashMap<Key, Arc<Outcome>>,
    /// What went last, let go of a little at a time: all at once would hold up whoever is next.
    gone: hash_map::IntoIter<Key, Arc<Outcome>>,
    /// What the younger takes.
    bytes: u64,
    /// The most that one of them takes.
    most: u64,
    since: Instant,
}

impl Answers {
    pub(super) fn new(max_bytes: u64) -> Self {
        let empty = FxHashMap::default;
        let (bytes, most, since) = (0, max_bytes / 2, Instant::now());
        Self { younger: empty(), elder: empty(), gone: empty().into_iter(), bytes, most, since }
    }

    pub(super) fn insert(&mut self, key: Key, answer: Arc<Outcome>) {
        if self.bytes >= self.most || self.since.elapsed() >= ASKED_AGAIN {
            let younger = std::mem::take(&mut self.younger);
            self.gone = std::mem::replace(&mut self.elder, younger).into_iter();
            (self.bytes, self.since) = (0, Instant::now());
        }
        self.bytes += u64::from(weight(&key, &answer));
        self.younger.insert(key, answer);
        // Two for each that comes: they are gone before the next ones go.
        drop((self.gone.next(), self.gone.next()));
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Outcome>> {
        let answer = self.younger.get(key).or_else(|| self.elder.get(key))?;
        (answer.expires > Instant::now()).then(|| answer.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::{id::MessageId, idempotency::OVERHEAD};

    fn key() -> Key {
        Key::new(&"orders.Place".into(), None, MessageId::new())
    }

    fn answer() -> Arc<Outcome> {
        Arc::new(Outcome { fingerprint: 1, expires: Instant::now() + ASKED_AGAIN, result: Ok(Bytes::new()) })
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_known_for_its_time_and_no_longer() {
        let mut answers = Answers::new(1 << 20);
        let (first, second) = (key(), key());
        answers.insert(first.clone(), answer());
        tokio::time::advance(ASKED_AGAIN - Duration::from_secs(1)).await;
        answers.insert(second.clone(), answer());
        assert!(answers.get(&first).is_some() && answers.get(&second).is_some());
        tokio::time::advance(Duration::from_secs(2)).await;
        answers.insert(key(), answer());
        assert!(answers.get(&first).is_none(), "its time is over");
        assert!(answers.get(&second).is_some(), "it stood with one that is over");
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_the_newest_half_is_known() {
        let entry = u64::from(weight(&key(), &answer()));
        assert!(entry > u64::from(OVERHEAD));
        let mut answers = Answers::new(100 * entry);
        let keys: Vec<_> = std::iter::repeat_with(key).take(1_000).collect();
        for key in &keys {
            answers.insert(key.clone(), answer());
            assert!(
                answers.younger.len() + answers.elder.len() + answers.gone.len() <= 100,
                "more than there is room for"
            );
        }
        assert!(keys[950..].iter().all(|key| answers.get(key).is_some()));
        assert!(keys[..900].iter().all(|key| answers.get(key).is_none()));
    }
}
