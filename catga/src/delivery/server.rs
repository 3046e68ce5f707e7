//! The task that serves requests: from other nodes, and those of this node that are to be remembered.
//!
//! It owns the memory of requests. A handler is polled once here; what is not ready then goes on in a task of its own, to
//! its end, whoever still waits.

use std::{collections::BTreeMap, pin::pin, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use tokio::{sync::mpsc, time::Instant};

use super::{
    asks::Heard,
    node::Node,
    observe::Occurrence,
    request_run::{Finished, RequestRun, conclude, is_final, start_request, too_late},
    round::{Recovery, Round},
};
use crate::{
    codec,
    envelope::{Envelope, Reply},
    error::{Error, ErrorKind},
    frame::{self, MAX_MESSAGES, MAX_TOGETHER},
    id::content,
    idempotency::{Key, Memory, Verdict},
    middleware::gate::Entry,
    waiting::Waiting,
};

/// A request of this node to itself that is to be remembered.
pub(crate) struct LocalRequest {
    pub(crate) envelope: Envelope,
    pub(crate) waiting: Waiting<Heard>,
}

/// Where an answer goes.
pub(crate) enum Asker {
    Remote { node: Arc<str>, token: u64 },
    Local(Waiting<Heard>),
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
    recovery: Recovery,
}

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
        Self {
            node,
            requests,
            local,
            finished,
            finish,
            memory,
            outgoing: BTreeMap::new(),
            recovery: Recovery::default(),
        }
    }

    /// Serves until the node has ended; while it shuts down, what is new is refused.
    pub(crate) async fn run(mut self) {
        let node = self.node.clone();
        let (mut cancelled, mut closed) = (pin!(node.cancel.cancelled()), pin!(node.closed.cancelled()));
        let (mut requests, mut local, mut finished) = (Vec::new(), Vec::new(), Vec::new());
        let (mut given_up, mut open) = (false, true);
        loop {
            tokio::select! {
                biased;
                _ = self.finished.recv_many(&mut finished, MAX_MESSAGES) => {}
                count = self.requests.recv_many(&mut requests, MAX_MESSAGES), if open => open = count > 0,
                _ = self.local.recv_many(&mut local, MAX_MESSAGES) => {}
                () = &mut cancelled, if !given_up => given_up = true,
                () = &mut closed => return,
            }
            // What comes without a pause from other nodes holds up neither this node's own requests nor its end.
            while local.len() < MAX_MESSAGES
                && let Ok(request) = self.local.try_recv()
            {
                local.push(request);
            }
            given_up |= node.cancel.is_cancelled();
            if node.closed.is_cancelled() {
                return;
            }
            for finished in finished.drain(..) {
                self.finish(finished);
            }
            let round = Round::start();
            for envelope in requests.drain(..) {
                let Some(request) = &envelope.request else { continue };
                let asker = Asker::Remote { node: envelope.source.clone(), token: request.token };
                self.admit(&node, envelope, asker, round);
            }
            for LocalRequest { envelope, waiting } in local.drain(..) {
                self.admit(&node, envelope, Asker::Local(waiting), round);
            }
            if given_up {
                self.give_up();
            }
            self.send_replies().await;
            if given_up {
                node.served.cancel();
            }
            self.recovery.end(round).await;
        }
    }

    /// Answers everybody whose request was cut off; their outcome is not known.
    fn give_up(&mut self) {
        for asker in self.memory.release_all() {
            let text = "the node that ran this request was stopped before it had finished";
            self.answer(asker, Err(Error::unknown(ErrorKind::ShuttingDown, text)));
        }
    }

    /// Takes a request on, unless it is known, refused or too late. Hot: a handler that is ready at its first poll leaves no
    /// claim, for nothing is looked at meanwhile.
    fn admit(&mut self, node: &Arc<Node>, envelope: Envelope, asker: Asker, round: Round) {
        let Some(request) = &envelope.request else { return };
        let Some(handler) = node.handlers.by_name(&envelope.name).and_then(|route| route.request.as_ref()) else {
            let text = format!("node `{}` has no handler for `{}`", node.id, envelope.name);
            return self.answer(asker, Err(Error::not_started(ErrorKind::NoHandler, text)));
        };
        let (id, key) = (envelope.id, Key::new(&envelope.name, request.key.as_deref(), envelope.id));
        // Without a key the id tells requests apart: a repeat has the very same bytes.
        let canonical = request.key.as_ref().and_then(|_| codec::canonical(&envelope.payload));
        let print = content(canonical.as_deref().unwrap_or(&envelope.payload));
        let asker = match self.memory.look(&key, id, print, asker) {
            Verdict::Run(asker) => asker,
            Verdict::Joined => return,
            Verdict::Known(asker, result) => {
                node.counters.duplicates(1);
                node.observe(&envelope.name, id, || Occurrence::Duplicate { handler: handler.name.clone() });
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
        };
        if node.refusing.load(std::sync::atomic::Ordering::Relaxed) {
            return self.answer(asker, Err(Error::shutting_down()));
        }
        // What was left when it was sent: clocks of two machines need not agree.
        let left = request.remaining_ms;
        if left == 0 {
            return self.answer(asker, Err(too_late()));
        }
        let deadline = Instant::now() + Duration::from_millis(left);
        let entry = match handler.enter() {
            Entry::Full => {
                self.recovery.note(&handler.gate);
                node.counters.refused(1);
                let text = format!("the queue of handler `{}` on node `{}` is full", handler.name, node.id);
                return self.answer(asker, Err(Error::not_started(ErrorKind::Overloaded, text)));
            }
            Entry::Now(pass) => {
                let (mut started, unread) = start_request(node, handler, &envelope, deadline, 1);
                if let Some(error) = unread {
                    // The run has failed, and is not one that nobody waited for.
                    drop(started.first());
                    return self.answer(asker, Err(error));
                }
                let first = match round.is_quick().then(|| started.first()) {
                    Some(Poll::Ready(result)) if is_final(handler, &result) => {
                        let (result, keep) = conclude(node, handler, &envelope, result, 1);
                        drop(pass);
                        self.memory.remember(&key, print, &[id], &result, keep);
                        return self.answer(asker, result);
                    }
                    Some(Poll::Ready(Err(error))) => Err(error),
                    _ => Ok(started),
                };
                Ok((first, pass.keep()))
            }
            Entry::Wait(turn) => {
                self.recovery.note(&handler.gate);
                // What cannot be read takes no place.
                if let Err(error) = handler.erased().decode(&envelope.payload) {
                    return self.answer(asker, Err(error));
                }
                Err(turn)
            }
        };
        self.memory.claim(key.clone(), id, print, asker);
        let run = RequestRun { node: node.clone(), handler: handler.clone(), deadline, envelope, key };
        node.spawn_run(run.finish(entry, self.finish.clone()));
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
            Asker::Local(mut waiting) => drop(waiting.tell(Heard::Reply(result))),
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
