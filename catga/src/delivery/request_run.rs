//! One request that a handler works on: how a run is started, how it goes on, and what its sender is told.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{sync::mpsc, time::Instant};

use super::{node::Node, observe::Occurrence, table::HandlerEntry};
use crate::{
    context::{Run, Source},
    envelope::Envelope,
    error::{Error, ErrorKind, Failure, Retry},
    handler::{Given, failed},
    idempotency::{Keep, Key},
    message::Kind,
    middleware::{
        gate::{Permit, Turn},
        run::{Cause, RunError, Started, finish_with_retries, start},
    },
};

/// The most bytes of each text of a failure that a caller is told: with more, the reply could be too large to travel.
const MAX_FAILURE: usize = 64 * 1024;

/// A request whose handler was not ready at once.
pub(super) struct RequestRun {
    pub(super) node: Arc<Node>,
    pub(super) handler: Arc<HandlerEntry>,
    pub(super) deadline: Instant,
    /// Each run reads its message anew.
    pub(super) envelope: Envelope,
    pub(super) key: Key,
}

/// A run that has ended.
pub(super) struct Finished {
    pub(super) key: Key,
    pub(super) result: Result<Bytes, Error>,
    /// What is kept of it.
    pub(super) keep: Keep,
}

/// Starts a run of a request; says why the handler cannot read its message, if it cannot, which ends the run at once.
pub(super) fn start_request(
    node: &Node,
    handler: &HandlerEntry,
    envelope: &Envelope,
    deadline: Instant,
    attempt: u32,
) -> (Started<Bytes>, Option<Error>) {
    let mut run = Run::new(node, &handler.name, Source::request(envelope, deadline));
    run.attempt = attempt;
    let mut unread = None;
    let started = start(run, &handler.meter, |run| {
        handler.erased().start_any(Given::Encoded(&envelope.payload), run).unwrap_or_else(|error| {
            let failure = Failure::new("codec", error.to_string()).permanent();
            unread = Some(error);
            failed(failure)
        })
    });
    (started, unread)
}

/// Whether no further run follows this result.
pub(super) fn is_final(handler: &HandlerEntry, result: &Result<Bytes, RunError>) -> bool {
    match result {
        Ok(_) => true,
        Err(error) => handler.retry.attempts <= 1 || !error.repeats_request(),
    }
}

/// What the sender is told of the last run of a request, and what is kept of it.
pub(super) fn conclude(
    node: &Node,
    handler: &HandlerEntry,
    envelope: &Envelope,
    result: Result<Bytes, RunError>,
    attempt: u32,
) -> (Result<Bytes, Error>, Keep) {
    let name = &handler.name;
    node.observe(&envelope.name, envelope.id, || match &result {
        Ok(_) => Occurrence::Handled { handler: name.clone(), attempt },
        Err(error) => Occurrence::Failed { handler: name.clone(), attempt, failure: error.failure.clone() },
    });
    let (result, remember) = match result {
        Ok(reply) => (node.check_reply(name, reply.len()).map(|()| reply), true),
        Err(error) => {
            let (error, remember) = answer_of(name, error);
            (Err(error), remember)
        }
    };
    let keep = match (handler.message.kind, remember) {
        (Kind::Command, true) => Keep::Outcome,
        (Kind::Command, false) => Keep::Answer,
        // A query is never remembered: it may run twice.
        _ => Keep::Nothing,
    };
    (result, keep)
}

/// A run that has begun, or how it ended if that was at once, with its place; or the turn that it waits for.
pub(super) type Entered = Result<(Result<Started<Bytes>, RunError>, Permit), Turn>;

impl RequestRun {
    /// Goes on to the end, once it is its turn if that comes by the deadline, and repeats a run by the handler's policy.
    #[expect(clippy::manual_async_fn, reason = "what it is given would take its place in the future twice")]
    pub(super) fn finish(
        self,
        entered: Entered,
        finish: mpsc::Sender<Finished>,
    ) -> impl Future<Output = ()> + Send + 'static {
        async move {
            let entered = match entered {
                Ok(entered) => Ok(entered),
                Err(turn) => match tokio::time::timeout_at(self.deadline, turn).await {
                    Ok(Ok(permit)) => Ok((Ok(self.start(1)), permit)),
                    Ok(Err(_)) => Err(Error::shutting_down()),
                    Err(_) => Err(too_late()),
                },
            };
            let (run, permit) = match entered {
                Ok(entered) => entered,
                Err(error) => {
                    let refused = Finished { key: self.key, result: Err(error), keep: Keep::Nothing };
                    return drop(finish.send(refused).await);
                }
            };
            // Below its permit: a run that is cut off is over before another one has its place.
            let mut run = run;
            let (policy, limit, deadline) = (&self.handler.retry, self.handler.timeout, Some(self.deadline));
            let again = |attempt| {
                self.node.counters.retries(1);
                self.start(attempt)
            };
            let repeats = RunError::repeats_request;
            let (result, attempts) = finish_with_retries(&mut run, policy, limit, deadline, repeats, again).await;
            let (result, keep) = conclude(&self.node, &self.handler, &self.envelope, result, attempts);
            // The server lives as long as the node.
            drop(finish.send(Finished { key: self.key, result, keep }).await);
            // Only now: a node that stops waits for what has a permit, and then tells everybody else that nothing is known.
            drop(permit);
        }
    }

    fn start(&self, attempt: u32) -> Started<Bytes> {
        start_request(&self.node, &self.handler, &self.envelope, self.deadline, attempt).0
    }
}

pub(super) fn too_late() -> Error {
    Error::not_started(ErrorKind::TimedOut, "the deadline of the request passed before a handler could start")
}

/// What the sender of a request is told of a run that failed, and whether a repeat is told the same.
pub(crate) fn answer_of(handler: &str, error: RunError) -> (Error, bool) {
    match error.cause {
        Cause::Answered | Cause::Panicked => {
            let failure = match error.failure.size() > MAX_FAILURE {
                true => error.failure.bounded(MAX_FAILURE),
                false => error.failure,
            };
            let remember = failure.retry() != Retry::Transient;
            (Error::handler(handler, failure), remember)
        }
        Cause::TimedOut => {
            (Error::unknown(ErrorKind::TimedOut, format!("handler `{handler}`: {}", error.failure.message())), false)
        }
        Cause::NotEmitted => {
            let text = format!("handler `{handler}` succeeded, but {}", error.failure.message());
            (Error::unknown(ErrorKind::Transport, text), false)
        }
    }
}
