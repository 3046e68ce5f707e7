//! The dead letters of one application, in the order in which they came; bounded by number, bytes and age.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::Settings;
use crate::{id::MessageId, transport::DeadLetter};

/// The most dead letters; beyond, somebody should have looked.
const MAX_LETTERS: usize = 100_000;

/// The dead letters. Beyond a bound the oldest is given up, as it is at its age: were a new one refused, its durable would
/// stand still until somebody looks.
#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    letters: BTreeMap<u64, (Instant, DeadLetter)>,
    /// The place of each letter; known for a while after it has gone, so that who lists them goes on behind it.
    places: FxHashMap<MessageId, u64>,
    next: u64,
    bytes: usize,
}

impl DeadLetters {
    /// Keeps a letter, unless it is there already.
    pub(super) fn bury(&mut self, letter: DeadLetter, settings: &Settings) {
        if self.get(letter.id).is_some() {
            return;
        }
        self.places.insert(letter.id, self.next);
        self.bytes += letter.size();
        self.letters.insert(self.next, (Instant::now(), letter));
        self.next += 1;
        while self.letters.len() > MAX_LETTERS || self.bytes > settings.dead_letter_bytes {
            let Some(oldest) = self.pop_oldest() else { break };
            let (id, letters, bytes) = (oldest.id, MAX_LETTERS, settings.dead_letter_bytes);
            tracing::error!(
                target: "catga::delivery", %id, letters, bytes, "there are too many dead letters: the oldest is given up"
            );
        }
        if self.places.len() > 2 * MAX_LETTERS {
            let letters = &self.letters;
            self.places.retain(|_, place| letters.contains_key(place));
        }
    }

    pub(super) fn get(&self, id: MessageId) -> Option<&DeadLetter> {
        self.letters.get(self.places.get(&id)?).map(|(_, letter)| letter)
    }

    /// The letters behind the one named by `after`, at most `limit`.
    pub(super) fn list(&self, after: Option<MessageId>, limit: usize) -> Vec<DeadLetter> {
        let start = after.and_then(|id| self.places.get(&id)).map_or(0, |place| place + 1);
        self.letters.range(start..).take(limit).map(|(_, (_, letter))| letter.clone()).collect()
    }

    /// Deletes a letter; says whether it was there.
    pub(super) fn delete(&mut self, id: MessageId) -> bool {
        let deleted = self.places.get(&id).and_then(|place| self.letters.remove(place));
        self.bytes -= deleted.as_ref().map_or(0, |(_, letter)| letter.size());
        deleted.is_some()
    }

    /// Gives up what is too old.
    pub(super) fn expire(&mut self, now: Instant, settings: &Settings) {
        let old = |(since, _): &(Instant, DeadLetter)| now.duration_since(*since) >= settings.dead_letter_age;
        while self.letters.first_key_value().is_some_and(|(_, letter)| old(letter)) {
            self.pop_oldest();
        }
    }

    fn pop_oldest(&mut self) -> Option<DeadLetter> {
        let (_, (_, oldest)) = self.letters.pop_first()?;
        self.bytes -= oldest.size();
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{error::Failure, transport::DeadContent};

    fn letter(number: u128, bytes: usize) -> DeadLetter {
        DeadLetter {
            id: MessageId::from_u128(number),
            durable: "n.node1".into(),
            handler: None,
            attempts: 1,
            replays: 0,
            failure: Failure::new("codec", "no message"),
            node: "node1".into(),
            time_ms: 0,
            content: DeadContent::Unreadable(Bytes::from(vec![0; bytes])),
        }
    }

    fn ids(letters: &DeadLetters) -> Vec<u128> {
        letters.list(None, 10).iter().map(|letter| letter.id.as_u128()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_bound_of_bytes_the_oldest_is_given_up() {
        let settings = Settings { dead_letter_bytes: 10_000, ..Settings::default() };
        let mut letters = DeadLetters::default();
        for number in 1..=3 {
            letters.bury(letter(number, 4_000), &settings);
        }
        assert_eq!(ids(&letters), [2, 3]);
        assert!(letters.delete(letter(2, 0).id));
        letters.bury(letter(4, 4_000), &settings);
        assert_eq!(ids(&letters), [3, 4]);
        tokio::time::advance(settings.dead_letter_age).await;
        letters.expire(Instant::now(), &settings);
        assert_eq!((ids(&letters).len(), letters.bytes), (0, 0));
    }
}
