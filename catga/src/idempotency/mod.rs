//! The memory of requests: a repeat is answered, not executed again.
//!
//! A request is claimed while it runs and done when its outcome is known; there is never a bare "seen". Claims stand in a
//! map that nothing evicts: when it is full, requests are refused. Outcomes under a caller's key are held by moka, bounded by
//! bytes, the least recently used go first; answers to messages without one, which are asked for again within seconds, by a
//! pair of maps, for moka takes microseconds an entry. One task owns it all, so there is no lock.

mod answers;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use moka::{policy::EvictionPolicy, sync::Cache};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use self::answers::Answers;
use crate::{error::Error, id::MessageId};

/// What a claim and an outcome cost beside their bytes.
const OVERHEAD: u32 = 200;
/// The most callers that wait for one running request.
const MAX_WAITERS: usize = 1_024;

/// What tells a request from every other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The name of the request type: keys of different types never meet.
    name: Arc<str>,
    identity: Identity,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Identity {
    Caller(Arc<str>),
    Message(MessageId),
}

impl Key {
    pub(crate) fn new(name: &Arc<str>, key: Option<&str>, id: MessageId) -> Self {
        let identity = key.map_or(Identity::Message(id), |key| Identity::Caller(key.into()));
        Self { name: name.clone(), identity }
    }

    fn size(&self) -> usize {
        match &self.identity {
            Identity::Caller(key) => self.name.len() + key.len(),
            Identity::Message(_) => self.name.len() + size_of::<MessageId>(),
        }
    }
}

/// The memory of one node; `W` is where an answer goes.
pub(crate) struct Memory<W> {
    claims: FxHashMap<Key, Claim<W>>,
    max_claims: usize,
    /// By the caller's key, for the window.
    outcomes: Cache<Key, Arc<Outcome>>,
    window: Duration,
    /// By the id of the message, for as long as the same one may still be asked again: also what is not remembered for the
    /// key, so that a question that crosses its answer does not run it again.
    answers: Answers,
}

struct Claim<W> {
    /// Of the payload: the same key with other content is refused.
    fingerprint: u128,
    /// The messages that wait for it.
    waiters: Vec<(MessageId, W)>,
}

struct Outcome {
    fingerprint: u128,
    /// On tokio's clock, so that a test can let it pass.
    expires: Instant,
    result: Result<Bytes, Error>,
}

/// How long an answer is kept for a repeat of the same message: longer than callers ask again.
const ASKED_AGAIN: Duration = Duration::from_secs(60);
/// Which part of the bytes is for such answers.
const ANSWERS_PART: u64 = 4;

/// What is to be done with a request.
pub(crate) enum Verdict<W> {
    /// It is new. If it has not ended when the next one is looked at, [`claim`](Memory::claim) it.
    Run(W),
    /// It runs already; the waiter is answered with it.
    Joined,
    /// Its outcome is known.
    Known(W, Result<Bytes, Error>),
    /// Its key belongs to other content.
    Reused(W),
    /// Too many requests are claimed.
    Full(W),
}

impl<W> Memory<W> {
    pub(crate) fn new(max_bytes: u64, max_claims: usize, window: Duration) -> Self {
        let outcomes = cache(max_bytes - max_bytes / ANSWERS_PART);
        let answers = Answers::new(max_bytes / ANSWERS_PART);
        Self { claims: FxHashMap::default(), max_claims, outcomes, window, answers }
    }

    /// Says what is to be done with a request.
    pub(crate) fn look(&mut self, key: &Key, id: MessageId, fingerprint: u128, waiter: W) -> Verdict<W> {
        if let Some(claim) = self.claims.get_mut(key) {
            if claim.fingerprint != fingerprint {
                return Verdict::Reused(waiter);
            }
            if claim.waiters.len() >= MAX_WAITERS {
                return Verdict::Full(waiter);
            }
            claim.waiters.push((id, waiter));
            return Verdict::Joined;
        }
        let answer = match key.identity {
            Identity::Message(_) => self.answers.get(key),
            Identity::Caller(_) => self.answers.get(&Key::new(&key.name, None, id)).or_else(|| self.outcome(key)),
        };
        if let Some(outcome) = answer {
            if outcome.fingerprint != fingerprint {
                return Verdict::Reused(waiter);
            }
            return Verdict::Known(waiter, outcome.result.as_ref().cloned().map_err(Error::duplicate));
        }
        if self.claims.len() >= self.max_claims {
            return Verdict::Full(waiter);
        }
        Verdict::Run(waiter)
    }

    /// Claims a request that is to be run and goes on; it ends with [`finish`](Memory::finish).
    pub(crate) fn claim(&mut self, key: Key, id: MessageId, fingerprint: u128, waiter: W) {
        self.claims.insert(key, Claim { fingerprint, waiters: vec![(id, waiter)] });
    }

    /// What is remembered under a caller's key.
    fn outcome(&self, key: &Key) -> Option<Arc<Outcome>> {
        let outcome = self.outcomes.get(key)?;
        if outcome.expires > Instant::now() {
            return Some(outcome);
        }
        self.outcomes.invalidate(key);
        None
    }

    /// Ends a claim, as `keep` says. Gives those who wait.
    pub(crate) fn finish(&mut self, key: &Key, result: &Result<Bytes, Error>, keep: Keep) -> Vec<W> {
        let Some(claim) = self.claims.remove(key) else { return Vec::new() };
        let (ids, waiters): (Vec<_>, Vec<_>) = claim.waiters.into_iter().unzip();
        self.remember(key, claim.fingerprint, &ids, result, keep);
        waiters
    }

    /// Keeps what came of a request, as `keep` says, for the messages that asked.
    pub(crate) fn remember(
        &mut self,
        key: &Key,
        fingerprint: u128,
        ids: &[MessageId],
        result: &Result<Bytes, Error>,
        keep: Keep,
    ) {
        if keep == Keep::Nothing {
            return;
        }
        // A copy: the bytes may be a slice of something much larger.
        let copy = || result.as_ref().map(|reply| Bytes::copy_from_slice(reply)).map_err(Error::duplicate);
        let outcome = |time: Duration| {
            let (expires, result) = (Instant::now() + time, copy());
            Arc::new(Outcome { fingerprint, expires, result })
        };
        let answer = outcome(ASKED_AGAIN);
        for id in ids {
            self.answers.insert(Key::new(&key.name, None, *id), answer.clone());
        }
        if keep == Keep::Outcome && matches!(key.identity, Identity::Caller(_)) {
            self.outcomes.insert(key.clone(), outcome(self.window));
        }
    }

    /// Ends every claim, when the node ends.
    pub(crate) fn release_all(&mut self) -> Vec<W> {
        self.claims.drain().flat_map(|(_, claim)| claim.waiters).map(|(_, waiter)| waiter).collect()
    }
}

/// What is kept of a request that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Its outcome, for whoever comes with its key within the window.
    Outcome,
    /// The answer, for a repeat of the very same message; another one under its key runs again.
    Answer,
    /// Nothing: it was not run, or may run twice.
    Nothing,
}

fn cache(max_bytes: u64) -> Cache<Key, Arc<Outcome>> {
    Cache::builder()
        // The default policy refuses the newest keys when the cache is full: those are the ones that are repeated.
        .eviction_policy(EvictionPolicy::lru())
        .weigher(|key: &Key, outcome: &Arc<Outcome>| weight(key, outcome))
        .max_capacity(max_bytes)
        .build()
}

/// How many bytes an outcome takes.
fn weight(key: &Key, outcome: &Outcome) -> u32 {
    let reply = outcome.result.as_ref().map_or_else(|error| error.to_string().len(), Bytes::len);
    u32::try_from(key.size() + reply).unwrap_or(u32::MAX).saturating_add(OVERHEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(&"orders.Place".into(), Some(text), MessageId::new())
    }

    fn memory(max_bytes: u64, max_claims: usize) -> Memory<u32> {
        Memory::new(max_bytes, max_claims, Duration::from_secs(600))
    }

    /// Looks at a request that goes on if it is new.
    fn claim(memory: &mut Memory<u32>, key: &Key, id: MessageId, fingerprint: u128, waiter: u32) -> Verdict<u32> {
        let verdict = memory.look(key, id, fingerprint, waiter);
        if let Verdict::Run(waiter) = verdict {
            memory.claim(key.clone(), id, fingerprint, waiter);
        }
        verdict
    }

    fn done(text: &str) -> Result<Bytes, Error> {
        Ok(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_repeat_joins_the_run_and_is_answered_from_memory_until_the_window_ends() {
        let mut memory = memory(1 << 20, 10);
        assert!(matches!(claim(&mut memory, &key("a"), MessageId::new(), 1, 1), Verdict::Run(_)));
        assert!(matches!(claim(&mut memory, &key("a"), MessageId::new(), 1, 2), Verdict::Joined));
        assert_eq!(memory.finish(&key("a"), &done("reply"), Keep::Outcome), [1, 2]);
        assert!(
            matches!(claim(&mut memory, &key("a"), MessageId::new(), 1, 3), Verdict::Known(3, Ok(reply)) if reply == "reply")
        );
        tokio::time::advance(Duration::from_secs(601)).await;
        assert!(matches!(claim(&mut memory, &key("a"), MessageId::new(), 1, 4), Verdict::Run(_)));
    }

    #[tokio::test]
    async fn a_released_claim_runs_again() {
        let mut memory = memory(1 << 20, 10);
        assert!(matches!(claim(&mut memory, &key("a"), MessageId::new(), 1, 1), Verdict::Run(_)));
        assert_eq!(memory.finish(&key("a"), &done("lost"), Keep::Answer), [1]);
        assert!(matches!(claim(&mut memory, &key("a"), MessageId::new(), 1, 2), Verdict::Run(_)));
    }

    #[tokio::test]
    async fn other_content_under_the_same_key_is_refused_while_it_runs_and_after() {
        let mut memory = memory(1 << 20, 10);
        assert!(matches!(claim(&mut memory, &key("a"), MessageId::new(), 1, 1), Verdict::Run(_)));
        assert!(matches!(claim(&mut memory, &key("a"), MessageId::new(), 2, 2), Verdict::Reused(2)));
        memory.finish(&key("a"), &done("reply"), Keep::Outcome);
        assert!(matches!(claim(&mut memory, &key("a"), MessageId::new(), 2, 3), Verdict::Reused(3)));
    }

    #[tokio::test]
    async fn a_full_memory_refuses_claims_and_lets_go_of_the_oldest_outcome() {
        let mut memory = memory(4 * u64::from(OVERHEAD) + 100, 2);
        assert!(matches!(claim(&mut memory, &key("a"), MessageId::new(), 1, 1), Verdict::Run(_)));
        assert!(matches!(claim(&mut memory, &key("b"), MessageId::new(), 1, 2), Verdict::Run(_)));
        assert!(matches!(claim(&mut memory, &key("c"), MessageId::new(), 1, 3), Verdict::Full(3)));
        memory.finish(&key("a"), &done("1"), Keep::Outcome);
        memory.finish(&key("b"), &done("2"), Keep::Outcome);
        for text in ["c", "d", "e"] {
            assert!(matches!(claim(&mut memory, &key(text), MessageId::new(), 1, 4), Verdict::Run(_)));
            memory.finish(&key(text), &done("3"), Keep::Outcome);
            memory.outcomes.run_pending_tasks();
        }
        assert!(
            matches!(claim(&mut memory, &key("e"), MessageId::new(), 1, 5), Verdict::Known(5, Ok(_))),
            "the newest outcome is kept"
        );
        assert!(
            matches!(claim(&mut memory, &key("a"), MessageId::new(), 1, 6), Verdict::Run(_)),
            "the oldest outcome made room"
        );
    }

    #[tokio::test]
    async fn a_question_that_crosses_its_answer_has_the_same_answer_and_another_one_runs() {
        let mut memory = memory(1 << 20, 10);
        let (first, second) = (MessageId::new(), MessageId::new());
        assert!(matches!(claim(&mut memory, &key("a"), first, 1, 1), Verdict::Run(_)));
        memory.finish(&key("a"), &done("busy"), Keep::Answer);
        assert!(matches!(claim(&mut memory, &key("a"), first, 1, 2), Verdict::Known(2, Ok(reply)) if reply == "busy"));
        assert!(matches!(claim(&mut memory, &key("a"), second, 1, 3), Verdict::Run(_)));
        memory.finish(&key("a"), &done("refused"), Keep::Nothing);
        assert!(matches!(claim(&mut memory, &key("a"), second, 1, 4), Verdict::Run(_)));
    }
}
