//! What becomes of a reliable event that a handler did not finish: it is stored again, alone, or becomes a dead letter.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::{
    durable::{DurableTask, Open, settle_with},
    observe::Occurrence,
    round::Round,
    suspects::SUSPECT,
    work::Work,
};
use crate::{
    dead_letter::{DeadContent, DeadLetter},
    envelope::{Envelope, RetryPart},
    error::{Error, ErrorKind, Failure, Outcome},
    id::{MessageId, fingerprint, now_millis},
    middleware::{
        retry::RetryPolicy,
        run::{Cause, RunError},
    },
    transport::Settlement,
};

/// How long the task waits before it stores again what the store did not take.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// A store that has ended, for the delivery of this number.
pub(super) struct Stored {
    sequence: u64,
    /// What was not stored, and why.
    refused: Option<(Work, ErrorKind)>,
}

/// What a dead letter says beside where and when.
pub(super) struct Grave {
    pub(super) handler: Option<Arc<str>>,
    pub(super) attempts: u32,
    pub(super) replays: u32,
    pub(super) failure: Failure,
    pub(super) content: DeadContent,
}

impl DurableTask {
    /// Decides what becomes of a message that a handler failed.
    pub(super) fn fail(&mut self, sequence: u64, mut work: Work, error: RunError) {
        if self.node.is_replaced() {
            return self.store_for_others(sequence, work);
        }
        let policy = work.handler.retry;
        if error.repeats_event() && work.attempt < policy.attempts {
            let delay = policy.jittered(work.attempt);
            tracing::debug!(
                target: "catga::delivery", handler = %work.handler.name, id = %work.envelope.id, attempt = work.attempt,
                failure = %error.failure, ?delay, "a handler failed and will run again"
            );
            self.node.counters.retries(1);
            work.attempt += 1;
            // What a run emitted in part, or did before its time-out, its repeat may emit again.
            work.repeat |= matches!(error.cause, Cause::NotEmitted | Cause::TimedOut);
            (work.crashes, work.declared) = (0, false);
            self.store_again(sequence, work, delay);
        } else {
            self.bury(sequence, work, error.failure);
        }
    }

    /// Stores a message alone for this durable, with the one handler that remains.
    pub(super) fn store_again(&mut self, sequence: u64, work: Work, delay: Duration) {
        let mut envelope = Envelope::clone(&work.envelope);
        envelope.retry = Some(Box::new(RetryPart {
            handler: work.handler.name.to_string(),
            attempt: work.attempt,
            crashes: work.crashes,
            declared: work.declared,
            replays: replays(&work.envelope),
        }));
        envelope.repeat |= work.repeat;
        let identity = MessageId::derived(&[
            b"retry",
            &envelope.id.as_u128().to_le_bytes(),
            self.spec.name.as_bytes(),
            work.handler.name.as_bytes(),
            &work.attempt.to_le_bytes(),
            &work.crashes.to_le_bytes(),
            &[u8::from(work.declared)],
            &replays(&work.envelope).to_le_bytes(),
            &sequence.to_le_bytes(),
        ]);
        let (node, durable) = (self.node.clone(), self.spec.name.clone());
        let attempt = move || {
            let (node, durable, envelope) = (node.clone(), durable.clone(), envelope.clone());
            Box::pin(async move { node.link.store_for(&durable, envelope, identity, delay).await }) as _
        };
        self.store(sequence, attempt, Some((work, delay)));
    }

    /// Makes a message a dead letter of one handler.
    pub(super) fn bury(&mut self, sequence: u64, work: Work, failure: Failure) {
        let mut envelope = Envelope::clone(&work.envelope);
        let replays = envelope.retry.take().map_or(0, |retry| retry.replays);
        let (name, id, attempts) = (envelope.name.clone(), envelope.id, work.attempt);
        let handler = work.handler.name.clone();
        tracing::error!(
            target: "catga::delivery", %handler, message_type = %name, %id, attempts, %failure,
            "a handler gave up a reliable event: it becomes a dead letter"
        );
        self.node.observe(&name, id, || Occurrence::DeadLettered { handler: Some(handler.clone()), attempts });
        let content = DeadContent::Message(Box::new(envelope));
        let identity = id.as_u128();
        self.store_dead(sequence, identity, Grave { handler: Some(handler), attempts, replays, failure, content });
    }

    /// A retry for a handler that this node does not have is not lost: it waits among the dead letters.
    pub(super) fn bury_for_the_missing(&mut self, sequence: u64, envelope: &Envelope, retry: &RetryPart) {
        let name = &retry.handler;
        tracing::error!(
            target: "catga::delivery", handler = %name, message_type = %envelope.name, id = %envelope.id,
            "a reliable event waits for a handler that this node does not have: it becomes a dead letter"
        );
        let failure = Failure::new("no_handler", format!("this node has no handler `{name}`"));
        let message = Envelope { retry: None, ..Envelope::clone(envelope) };
        let grave = Grave {
            handler: Some(name.as_str().into()),
            attempts: retry.attempt.saturating_sub(1),
            replays: retry.replays,
            failure,
            content: DeadContent::Message(Box::new(message)),
        };
        self.store_dead(sequence, envelope.id.as_u128(), grave);
    }

    /// Bytes that are no message: another member may be newer and read them; in the end they are a dead letter.
    pub(super) async fn take_unreadable(
        &mut self,
        sequence: u64,
        deliveries: u32,
        bytes: bytes::Bytes,
        error: &Error,
        open: Open,
    ) {
        let policy = RetryPolicy { attempts: self.node.limits.event_attempts, base: self.node.limits.backoff };
        if deliveries < policy.attempts {
            // Another member may be newer and read it.
            return settle_with(&self.spec.name, &open.settle, Settlement::GiveBack(policy.jittered(deliveries))).await;
        }
        tracing::error!(target: "catga::delivery", %error, durable = %self.spec.name, "a delivery cannot be read: it becomes a dead letter");
        self.in_flight += 1;
        // The number alone would take what a store that was made anew brings under it for the same.
        let about = fingerprint(&[&bytes, &sequence.to_le_bytes()]);
        self.open.insert(sequence, open);
        let failure = Failure::new("codec", error.to_string());
        let content = DeadContent::Unreadable(bytes);
        let grave = Grave { handler: None, attempts: deliveries, replays: 0, failure, content };
        self.store_dead(sequence, about, grave);
        self.one_less(sequence).await;
    }

    pub(super) fn store_dead(&mut self, sequence: u64, about: u128, grave: Grave) {
        let Grave { handler, attempts, replays, failure, content } = grave;
        let name = handler.as_deref().unwrap_or("");
        let (about, count) = (about.to_le_bytes(), replays.to_le_bytes());
        let letter = DeadLetter {
            id: MessageId::derived(&[b"dead", &about, self.spec.name.as_bytes(), name.as_bytes(), &count]),
            durable: self.spec.name.clone(),
            handler,
            attempts,
            replays,
            failure,
            node: self.node.id.clone(),
            time_ms: now_millis(),
            content,
        };
        self.node.counters.dead_letters(1);
        let node = self.node.clone();
        let attempt = move || {
            let (node, letter) = (node.clone(), letter.clone());
            Box::pin(async move { node.link.bury(letter).await }) as _
        };
        self.store(sequence, attempt, None);
    }

    /// Stores until the store confirms; the delivery is not settled before. Work that the store refuses comes back when its
    /// delay has passed. But when the node stops, nothing of a delivery of several runs comes back: a part of it may be done
    /// or stored, and would be handled twice.
    fn store(
        &mut self,
        sequence: u64,
        attempt: impl Fn() -> BoxFuture<'static, Result<(), Error>> + Send + 'static,
        mut work: Option<(Work, Duration)>,
    ) {
        let mut alone = false;
        if let Some(open) = self.open.get_mut(&sequence) {
            open.left += 1;
            alone = open.work == 1;
        }
        let stop = self.node.stop.clone();
        // When the node stops, one after the other: what it has begun is stored in its order.
        let mut turn = stop.is_cancelled().then(|| {
            let (over, next) = oneshot::channel::<()>();
            (self.last_store.replace(next), over)
        });
        self.stores.push(Box::pin(async move {
            if let Some((Some(before), _)) = turn.as_mut() {
                drop(before.await);
            }
            while let Err(error) = attempt().await {
                let insists = stop.is_cancelled() && !alone && error.kind() == ErrorKind::Overloaded;
                if let Some((work, delay)) = work.take_if(|_| is_refusal(&error) && !insists) {
                    tracing::error!(
                        target: "catga::delivery", %error, handler = %work.handler.name, id = %work.envelope.id,
                        "the store refuses to take a message back: it waits here for its next run"
                    );
                    stop.run_until_cancelled(tokio::time::sleep(delay)).await;
                    return Stored { sequence, refused: Some((work, error.kind())) };
                }
                tracing::warn!(target: "catga::delivery", %error, "the store did not take a message back; trying again");
                tokio::time::sleep(STORE_AGAIN).await;
            }
            Stored { sequence, refused: None }
        }));
    }

    /// Takes note of a store that has ended. What was refused runs again from here, so that a store that is full can get
    /// empty; but no suspect, whose count is kept in the store: it goes back there, until the transport gives it up. What is
    /// too large for the store has no count there, and is given up so in any case.
    pub(super) async fn stored(&mut self, stored: Stored) {
        let Stored { sequence, refused } = stored;
        if let Some((work, refusal)) = refused {
            let too_large = refusal == ErrorKind::TooLarge;
            let stopping = self.node.stop.is_cancelled();
            if !stopping && (work.crashes < SUSPECT || too_large) {
                self.round = Round::start();
                return self.admit(sequence, work).await;
            }
            if stopping
                && refusal == ErrorKind::Overloaded
                && self.open.get(&sequence).is_some_and(|open| open.work > 1)
            {
                // Refused before the node stopped.
                self.store_again(sequence, work, Duration::ZERO);
            } else if let Some(open) = self.open.get_mut(&sequence) {
                open.give_back = Some(if stopping { Duration::ZERO } else { STORE_AGAIN });
            }
        }
        self.one_less(sequence).await;
    }
}

/// Whether the store says that it will not take a message back: it is full, the durable was deleted, or what is to be kept
/// beside the message makes it too large.
fn is_refusal(error: &Error) -> bool {
    let refused = matches!(error.kind(), ErrorKind::Overloaded | ErrorKind::NotFound | ErrorKind::TooLarge);
    refused && error.outcome() == Outcome::NotStarted
}

/// How often a message was replayed after it had become a dead letter.
fn replays(envelope: &Envelope) -> u32 {
    envelope.retry.as_ref().map_or(0, |retry| retry.replays)
}
