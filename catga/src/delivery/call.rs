//! Sends a request to a node that handles it, and to another one when the first does not answer.
//!
//! What certainly did not start goes to the next node at once. Silence is probed: a node that is alive is asked again
//! under the same id, for its memory knows; a node that is gone is replaced by another one.

use std::{sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    node::Node,
    requests::{Ask, abandoned},
    server::LocalRequest,
};
use crate::{
    cluster::routing::choose,
    envelope::{Envelope, RequestPart},
    error::{Error, ErrorKind, Outcome},
    id::now_millis,
};

/// The pause between two probes of a node that is alive.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// How long a node that has just started waits to get to know the others before it says that nobody handles a request.
const GETTING_TO_KNOW: Duration = Duration::from_millis(500);

/// A request that is to be sent.
pub(crate) struct Call {
    pub(crate) node: Arc<Node>,
    /// The number of the message type.
    pub(crate) index: usize,
    pub(crate) envelope: Envelope,
    pub(crate) key: Option<String>,
    /// The only node that may have it.
    pub(crate) target: Option<Arc<str>>,
    /// The node whose turn it is, if that is decided.
    pub(crate) first: Option<Arc<str>>,
    pub(crate) deadline: Instant,
}

/// How asking one node ended.
enum Asked {
    Answered(Result<Bytes, Error>),
    /// The node is gone; what it did with the request is not known.
    Gone,
    /// The caller's time is over.
    TimedOut,
    /// It was over before the request could leave.
    NotSent,
}

/// What a probe brought to light.
enum Probed {
    Answered(Result<Bytes, Error>),
    Alive,
    Gone,
}

impl Call {
    /// Sends the request until there is an answer, the attempts are used up or the deadline passes. It is borrowed: who runs
    /// it keeps it, and moves it no further.
    pub(crate) async fn run(&mut self) -> Result<Bytes, Error> {
        if self.first.is_none() && self.target.is_none() {
            self.first = self.choose(&[]);
        }
        if self.first.is_none() {
            let until = self.deadline.min(self.node.started + GETTING_TO_KNOW);
            Box::pin(self.node.wait_for_news(&self.envelope.name, until)).await;
        }
        let mut tried: Vec<Arc<str>> = Vec::new();
        // Whether a node that did not answer may have done the work.
        let mut doubt = false;
        let mut last = None;
        for _ in 0..self.node.limits.delivery_attempts.max(1) {
            let Some(target) = self.choose(&tried) else { break };
            match self.ask(&target).await {
                Asked::Answered(Ok(reply)) => {
                    self.trust(&target);
                    return Ok(reply);
                }
                Asked::Answered(Err(error)) if self.moves_on(&error) => {
                    self.avoid(&target);
                    last = Some(error);
                }
                Asked::Answered(Err(error)) => {
                    // A failure is an answer too; these come from this node, or from the transport.
                    if !matches!(error.kind(), ErrorKind::Transport | ErrorKind::ShuttingDown | ErrorKind::Replaced) {
                        self.trust(&target);
                    }
                    let outcome = if doubt && error.outcome() == Outcome::NotStarted {
                        Outcome::Unknown
                    } else {
                        error.outcome()
                    };
                    return Err(error.with_outcome(outcome));
                }
                Asked::Gone => {
                    self.avoid(&target);
                    doubt = true;
                    // What another node's run emits may have left before: receivers are to look.
                    self.envelope.repeat = true;
                    last = Some(Error::unknown(
                        ErrorKind::Transport,
                        format!("node `{target}` stopped answering while it had the request"),
                    ));
                }
                Asked::TimedOut => {
                    return Err(Error::unknown(
                        ErrorKind::TimedOut,
                        format!("no reply to `{}` from node `{target}` by the deadline", self.envelope.name),
                    ));
                }
                Asked::NotSent => {
                    let outcome = if doubt { Outcome::Unknown } else { Outcome::NotStarted };
                    let text =
                        format!("the deadline of `{}` passed before it could leave this node", self.envelope.name);
                    return Err(Error::new(ErrorKind::TimedOut, outcome, text));
                }
            }
            tried.push(target);
        }
        let error = last.unwrap_or_else(|| self.nobody());
        Err(if doubt { error.with_outcome(Outcome::Unknown) } else { error })
    }

    fn choose(&mut self, tried: &[Arc<str>]) -> Option<Arc<str>> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        if let Some(target) = &self.target {
            return (!tried.contains(target)).then(|| target.clone());
        }
        let table = self.node.cluster.table().load();
        let (name, route) = (&self.envelope.name, self.node.handlers.route(self.index)?);
        choose(&table, name, self.key.as_deref(), self.node.routing, &route.turn, tried).map(|view| view.id.clone())
    }

    /// Whether another node may be asked after this answer.
    fn moves_on(&self, error: &Error) -> bool {
        let refused = error.outcome() == Outcome::NotStarted
            && matches!(
                error.kind(),
                ErrorKind::Transport | ErrorKind::NoHandler | ErrorKind::ShuttingDown | ErrorKind::Overloaded
            );
        // Another node does not know the key's history: a full one refuses for all.
        refused && !(self.key.is_some() && error.kind() == ErrorKind::Overloaded)
    }

    fn nobody(&self) -> Error {
        let name = &self.envelope.name;
        let text = match &self.target {
            Some(target) => format!("node `{target}` does not handle `{name}`, or is not known"),
            None => format!(
                "no handler for `{name}` in this process, and no node that handles it is known; \
                 if its handler lives in another crate, link it: `use that_crate as _;`"
            ),
        };
        Error::not_started(ErrorKind::NoHandler, text)
    }

    fn avoid(&self, target: &str) {
        if let Some(view) = self.node.cluster.table().load().get(target) {
            view.vitals.avoid_for(self.node.limits.avoid_for);
        }
    }

    fn trust(&self, target: &str) {
        if let Some(view) = self.node.cluster.table().load().get(target) {
            view.vitals.trust();
        }
    }

    /// Asks one node. Hot: nearly all requests end with the first reply.
    async fn ask(&self, target: &Arc<str>) -> Asked {
        let Some(mut reply) = self.send(target, false).await else { return Asked::NotSent };
        let silent_until = match **target == *self.node.id {
            // This node knows that it is alive; its own queue loses nothing.
            true => self.deadline,
            false => (Instant::now() + self.node.limits.probe_after).min(self.deadline),
        };
        match tokio::time::timeout_at(silent_until, &mut reply).await {
            Ok(Ok(reply)) => Asked::Answered(reply),
            Ok(Err(_)) => Asked::Answered(Err(abandoned(&self.node))),
            Err(_) if Instant::now() >= self.deadline => Asked::TimedOut,
            Err(_) => Box::pin(self.probe(target, reply)).await,
        }
    }

    /// Probes a node that is silent, and asks it again while it is alive.
    async fn probe(&self, target: &Arc<str>, reply: Answer) -> Asked {
        // Every time that the node is asked again there is one more reply to wait for; the first one counts.
        let mut replies = FuturesUnordered::from_iter([reply]);
        loop {
            let Some(pong) = self.send(target, true).await else { return Asked::TimedOut };
            let mut pong = FuturesUnordered::from_iter([pong]);
            let probe_ends = (Instant::now() + self.node.limits.probe_timeout).min(self.deadline);
            let answer = tokio::time::timeout_at(probe_ends, async {
                tokio::select! {
                    biased;
                    reply = next_reply(&self.node, &mut replies) => Probed::Answered(reply),
                    pong = next_reply(&self.node, &mut pong) => match pong {
                        Ok(_) => Probed::Alive,
                        // Too busy even for a probe is not gone.
                        Err(error) if error.kind() == ErrorKind::Overloaded => Probed::Alive,
                        // Nobody is there to be probed; a reply that was faster still counts.
                        Err(_) => next_reply(&self.node, &mut replies).now_or_never().map_or(Probed::Gone, Probed::Answered),
                    },
                }
            });
            let probe_at = match answer.await {
                Ok(Probed::Answered(reply)) => return Asked::Answered(reply),
                Ok(Probed::Alive) => Instant::now() + PROBE_EVERY,
                Err(_) if Instant::now() >= self.deadline => return Asked::TimedOut,
                Ok(Probed::Gone) | Err(_) => return Asked::Gone,
            };
            replies.extend(self.send(target, false).await);
            let silent_until = probe_at.min(self.deadline);
            match tokio::time::timeout_at(silent_until, next_reply(&self.node, &mut replies)).await {
                Ok(reply) => return Asked::Answered(reply),
                Err(_) if Instant::now() >= self.deadline => return Asked::TimedOut,
                Err(_) => {}
            }
        }
    }

    /// Hands the request, or a probe in its place, to a node; the receiver gets the reply. None if the queue on the way had no
    /// room by the deadline.
    async fn send(&self, target: &Arc<str>, probe: bool) -> Option<Answer> {
        let (answer, reply) = oneshot::channel();
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        let remaining_ms = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
        let mut envelope = self.envelope.clone();
        envelope.request = Some(Box::new(RequestPart {
            token: 0,
            key: self.key.clone(),
            remaining_ms,
            deadline_ms: now_millis().saturating_add(remaining_ms),
            probe,
        }));
        if probe {
            envelope.payload = Bytes::new();
        }
        let found_room = match **target == *self.node.id {
            true => queue(&self.node.local, LocalRequest { envelope, answer }, self.deadline).await,
            false => queue(&self.node.asks, Ask { node: target.clone(), envelope, answer }, self.deadline).await,
        };
        found_room.then_some(reply)
    }
}

/// Puts something into a queue; says whether there was room by the deadline. A queue that is gone drops the answer's sender
/// with the request.
async fn queue<T>(queue: &mpsc::Sender<T>, item: T, deadline: Instant) -> bool {
    match queue.try_send(item) {
        Err(mpsc::error::TrySendError::Full(item)) => {
            Box::pin(tokio::time::timeout_at(deadline, queue.send(item))).await.is_ok()
        }
        Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => true,
    }
}

/// Where a reply arrives.
type Answer = oneshot::Receiver<Result<Bytes, Error>>;

/// The first reply to arrive. Replies that can no longer come are passed over while others may.
async fn next_reply(node: &Node, replies: &mut FuturesUnordered<Answer>) -> Result<Bytes, Error> {
    std::future::poll_fn(|cx| {
        loop {
            match replies.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(reply))) => return Poll::Ready(reply),
                Poll::Ready(Some(Err(_))) => {}
                Poll::Ready(None) => return Poll::Ready(Err(abandoned(node))),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}
