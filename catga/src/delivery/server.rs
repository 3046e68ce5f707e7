//! The task that serves requests: from other nodes, and those of this node that are to be remembered.
//!
//! It owns the memory of requests. A handler is polled once here; what is not ready then goes on in a task of its own, to
//! its end, whoever still waits.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{sync::mpsc, time::Instant};

use super::{node::Node, observe::Occurrence, requests::Waiting, round::Round, table::HandlerEntry};
use crate::{
    codec,
    context::{Metadata, Run, Source},
    envelope::{Envelope, Reply},
    error::{Error, ErrorKind, Retry},
    frame::{self, MAX_MESSAGES, MAX_TOGETHER},
    handler::{Given, Unpacked, begun},
    id::content,
    idempotency::{Keep, Key, Memory, Verdict},
    message::Kind,
    middleware::{
        gate::{Entry, Permit},
        run::{Cause, RunError, Started, finish_with_retries, start},
    },
};

/// A request of this node to itself that is to be remembered.
pub(crate) struct LocalRequest {
    pub(crate) envelope: Envelope,
    pub(crate) waiting: Waiting,
}

/// Where an answer goes.
pub(crate) enum Asker {
    Remote { node: Arc<str>, token: u64 },
    Local(Waiting),
}

/// A run that has ended.
struct Finished {
    key: Key,
    result: Result<Bytes, Error>,
    /// What is kept of it.
    keep: Keep,
}

/// The task's state.
pub(crate) struct Server {
    node: Arc<Node>,
    requests: mpsc::Receiver<Envelope>,
    local: mpsc::Receiver<LocalRequest>,
    finished: mpsc::Receiver<Finished>,
    finish: mpsc::Sender<Finished>,
    memory: Memory<Asker>,
    /// Replies that leave together at the end of a round, by node.
    outgoing: BTreeMap<Arc<str>, Vec<Reply>>,
}

/// The most bytes of each text of a failure that a caller is told: with more, the reply could be too large to travel.
const MAX_FAILURE: usize = 64 * 1024;
/// How many runs that have ended wait for the task.
const FINISHED: usize = 4_096;

impl Server {
    pub(crate) fn new(
        node: Arc<Node>,
        requests: mpsc::Receiver<Envelope>,
        local: mpsc::Receiver<LocalRequest>,
    ) -> Self {
        let (finish, finished) = mpsc::channel(FINISHED);
        let limits = &node.limits;
        let memory = Memory::new(limits.idempotency_bytes, limits.idempotency_claims, limits.idempotency_window);
        Self { node, requests, local, finished, finish, memory, outgoing: BTreeMap::new() }
    }

    /// Serves until the node has ended; while it shuts down, what is new is refused.
    pub(crate) async fn run(mut self) {
        let (cancel, closed, served) = (self.node.cancel.clone(), self.node.closed.clone(), self.node.served.clone());
        let (mut cancelled, mut closed) = (pin!(cancel.cancelled()), pin!(closed.cancelled()));
        let (mut requests, mut local, mut finished) = (Vec::new(), Vec::new(), Vec::new());
        let mut given_up = false;
        loop {
            tokio::select! {
                biased;
                _ = self.finished.recv_many(&mut finished, MAX_MESSAGES) => {}
                count = self.requests.recv_many(&mut requests, MAX_MESSAGES), if !self.requests.is_closed() => {
                    if count == 0 {
                        self.requests.close();
                    }
                }
                _ = self.local.recv_many(&mut local, MAX_MESSAGES) => {}
                () = &mut cancelled, if !given_up => given_up = true,
                () = &mut closed => return,
            }
            for finished in finished.drain(..) {
                self.finish(finished);
            }
            let round = Round::start();
            for envelope in requests.drain(..) {
                self.serve_remote(envelope, round).await;
            }
            for LocalRequest { envelope, waiting } in local.drain(..) {
                self.admit(envelope, Asker::Local(waiting), round).await;
            }
            if given_up {
                self.give_up();
            }
            self.send_replies().await;
            if given_up {
                served.cancel();
            }
            round.end().await;
        }
    }

    /// Answers everybody whose request was cut off; their outcome is not known.
    fn give_up(&mut self) {
        for asker in self.memory.release_all() {
            let text = "the node that ran this request was stopped before it had finished";
            self.answer(asker, Err(Error::unknown(ErrorKind::ShuttingDown, text)));
        }
    }

    async fn serve_remote(&mut self, envelope: Envelope, round: Round) {
        let Some(request) = &envelope.request else { return };
        let asker = Asker::Remote { node: envelope.source.clone(), token: request.token };
        self.admit(envelope, asker, round).await;
    }

    /// Takes a request on, unless it is known, refused or too late.
    async fn admit(&mut self, envelope: Envelope, asker: Asker, round: Round) {
        let node = self.node.clone();
        let Some(request) = &envelope.request else { return };
        let Some(handler) = node.handlers.by_name(&envelope.name).and_then(|route| route.request.as_ref()) else {
            let text = format!("node `{}` has no handler for `{}`", node.id, envelope.name);
            return self.answer(asker, Err(Error::not_started(ErrorKind::NoHandler, text)));
        };
        let key = Key::new(&envelope.name, request.key.as_deref(), envelope.id);
        // Without a key the id tells requests apart: a repeat has the very same bytes.
        let canonical = request.key.as_ref().and_then(|_| codec::canonical(&envelope.payload));
        let print = content(canonical.as_deref().unwrap_or(&envelope.payload));
        match self.memory.claim(&key, envelope.id, print, asker) {
            Verdict::Run => {}
            Verdict::Joined => return,
            Verdict::Known(asker, result) => {
                node.counters.duplicates(1);
                node.observe(&envelope.name, envelope.id, || Occurrence::Duplicate { handler: handler.name.clone() });
                return self.answer(asker, result);
            }
            Verdict::Reused(asker) => {
                let text = "the idempotency key was used before, for a request with other content; use a new key";
                return self.answer(asker, Err(Error::not_started(ErrorKind::KeyReused, text)));
            }
            Verdict::Full(asker) => {
                node.counters.refused(1);
                let text = format!("node `{}` has as many requests under way as it may", node.id);
                return self.answer(asker, Err(Error::not_started(ErrorKind::Overloaded, text)));
            }
        }
        if node.refusing.load(std::sync::atomic::Ordering::Relaxed) {
            return self.release(&key, Error::shutting_down());
        }
        // What was left when it was sent: clocks of two machines need not agree.
        let left = request.remaining_ms;
        if left == 0 {
            return self.release(&key, too_late());
        }
        let deadline = Instant::now() + Duration::from_millis(left);
        let message = match handler.erased().decode(&envelope.payload) {
            Ok(message) => message,
            Err(error) => return self.release(&key, error),
        };
        let run = RequestRun {
            node: node.clone(),
            handler: handler.clone(),
            message,
            metadata: Metadata::of(&envelope, Some(deadline)),
            envelope,
            key,
        };
        match handler.enter() {
            Entry::Now(pass) => {
                let mut started = run.start(1);
                if !round.is_quick() {
                    return node.spawn_run(run.finish(Ok(started), pass.keep(), self.finish.clone()));
                }
                match started.first().await {
                    std::task::Poll::Ready(result) if run.is_final(&result) => {
                        let finished = run.finished(result, 1);
                        drop(pass);
                        self.finish(finished);
                    }
                    std::task::Poll::Ready(Err(error)) => {
                        node.spawn_run(run.finish(Err(error), pass.keep(), self.finish.clone()));
                    }
                    _ => node.spawn_run(run.finish(Ok(started), pass.keep(), self.finish.clone())),
                }
            }
            Entry::Wait(turn) => {
                let finish = self.finish.clone();
                node.spawn_run(async move {
                    match tokio::time::timeout_at(deadline, turn).await {
                        Ok(Ok(permit)) => {
                            let started = run.start(1);
                            run.finish(Ok(started), permit, finish).await;
                        }
                        Ok(Err(_)) => run.give_up(Error::shutting_down(), finish).await,
                        Err(_) => run.give_up(too_late(), finish).await,
                    }
                });
            }
            Entry::Full => {
                node.counters.refused(1);
                let text = format!("the queue of handler `{}` on node `{}` is full", handler.name, node.id);
                self.release(&run.key, Error::not_started(ErrorKind::Overloaded, text));
            }
        }
    }

    /// Ends a claim that was not run.
    fn release(&mut self, key: &Key, error: Error) {
        self.finish(Finished { key: key.clone(), result: Err(error), keep: Keep::Nothing });
    }

    fn finish(&mut self, finished: Finished) {
        for asker in self.memory.finish(&finished.key, &finished.result, finished.keep) {
            let result = finished.result.as_ref().cloned().map_err(Error::duplicate);
            self.answer(asker, result);
        }
    }

    fn answer(&mut self, asker: Asker, result: Result<Bytes, Error>) {
        match asker {
            // A local caller that has gone needs no answer.
            Asker::Local(waiting) => drop(waiting.answer(result)),
            Asker::Remote { node, token } => {
                self.outgoing.entry(node).or_default().push(Reply::new(token, result));
            }
        }
    }

    async fn send_replies(&mut self) {
        while let Some((node, replies)) = self.outgoing.pop_first() {
            let mut rest = replies.into_iter().peekable();
            while rest.peek().is_some() {
                let size = |reply: &Reply| reply.result.as_ref().map_or(1_024, Bytes::len);
                let batch = frame::take(&mut rest, MAX_MESSAGES, MAX_TOGETHER, size);
                if let Err(error) = self.node.link.reply(&node, batch).await {
                    tracing::warn!(target: "catga::delivery", %error, %node, "replies could not be sent");
                }
            }
        }
    }
}

fn too_late() -> Error {
    Error::not_started(ErrorKind::TimedOut, "the deadline of the request passed before a handler could start")
}

/// One request that a handler works on.
struct RequestRun {
    node: Arc<Node>,
    handler: Arc<HandlerEntry>,
    message: Unpacked,
    metadata: Metadata,
    envelope: Envelope,
    key: Key,
}

impl RequestRun {
    fn start(&self, attempt: u32) -> Started<Bytes> {
        let mut run = Run::new(&*self.node, &self.handler.name, Source::Known(&self.metadata));
        run.attempt = attempt;
        start(run, &self.handler.meter, |run| {
            begun(self.handler.erased().start_any(Given::Copied(&*self.message), run))
        })
    }

    /// Whether no further run follows this result.
    fn is_final(&self, result: &Result<Bytes, RunError>) -> bool {
        match result {
            Ok(_) => true,
            Err(error) => self.handler.retry.attempts <= 1 || !error.repeats_request(),
        }
    }

    /// Goes on with a run that was started, to its end, and repeats it by the handler's policy.
    async fn finish(self, first: Result<Started<Bytes>, RunError>, permit: Permit, finish: mpsc::Sender<Finished>) {
        let (policy, limit) = (self.handler.retry, self.handler.timeout);
        let again = |attempt| {
            self.node.counters.retries(1);
            self.start(attempt)
        };
        let running =
            finish_with_retries(first, policy, limit, self.metadata.deadline, RunError::repeats_request, again);
        let (result, attempts) = running.await;
        let finished = self.finished(result, attempts);
        // The server lives as long as the node.
        drop(finish.send(finished).await);
        // Only now: a node that stops waits for what has a permit, and then tells everybody else that nothing is known.
        drop(permit);
    }

    async fn give_up(self, error: Error, finish: mpsc::Sender<Finished>) {
        drop(finish.send(Finished { key: self.key, result: Err(error), keep: Keep::Nothing }).await);
    }

    fn finished(&self, result: Result<Bytes, RunError>, attempt: u32) -> Finished {
        let name = &self.envelope.name;
        let handler = &self.handler.name;
        self.node.observe(name, self.envelope.id, || match &result {
            Ok(_) => Occurrence::Handled { handler: handler.clone(), attempt },
            Err(error) => Occurrence::Failed { handler: handler.clone(), attempt, failure: error.failure.clone() },
        });
        let (result, remember) = match result {
            Ok(reply) => (self.node.check_reply(handler, reply.len()).map(|()| reply), true),
            Err(error) => {
                let (error, remember) = answer_of(handler, error);
                (Err(error), remember)
            }
        };
        let keep = match (self.handler.message.kind, remember) {
            (Kind::Command, true) => Keep::Outcome,
            (Kind::Command, false) => Keep::Answer,
            // A query is never remembered: it may run twice.
            _ => Keep::Nothing,
        };
        Finished { key: self.key.clone(), result, keep }
    }
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

/// Answers probes, apart from the server: a node that is busy is alive.
pub(crate) async fn answer_probes(node: Arc<Node>, mut probes: mpsc::Receiver<Envelope>) {
    while let Some(probe) = probes.recv().await {
        let Some(request) = &probe.request else { continue };
        let pong = vec![Reply::new(request.token, Ok(Bytes::new()))];
        if let Err(error) = node.link.reply(&probe.source, pong).await {
            tracing::debug!(target: "catga::delivery", %error, "a probe could not be answered");
        }
    }
}
