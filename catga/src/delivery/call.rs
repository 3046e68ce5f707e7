//! Sends a request to a node that handles it, and to another one when the first does not answer.
//!
//! What certainly did not start goes to the next node at once. Silence is probed: a node that is alive is asked again
//! under the same id, for its memory knows; a node that is gone is replaced by another one.

use std::{sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    asks::{Ask, Heard},
    node::Node,
    requests::{abandoned, millis},
    server::LocalRequest,
};
use crate::{
    cluster::{routing::choose, snapshot::NodeView},
    envelope::{Envelope, RequestPart},
    error::{Error, ErrorKind, Outcome},
    waiting::Waiting,
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
    pub(crate) first: Option<Target>,
    pub(crate) deadline: Instant,
    /// The same on the clock of this machine, in milliseconds since 1970.
    pub(crate) deadline_ms: u64,
}

/// A node that is to have a request.
pub(crate) struct Target {
    id: Arc<str>,
    /// What is known of it, if anything is.
    view: Option<Arc<NodeView>>,
}

impl Target {
    pub(crate) fn of(view: &Arc<NodeView>) -> Self {
        Self { id: view.id.clone(), view: Some(view.clone()) }
    }

    fn avoid(&self, time: Duration) {
        if let Some(view) = &self.view {
            view.vitals.avoid_for(time);
        }
    }

    fn trust(&self) {
        if let Some(view) = &self.view {
            view.vitals.trust();
        }
    }
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
    pub(crate) async fn run(&mut self, mut now: Instant) -> Result<Bytes, Error> {
        if self.first.is_none() && self.target.is_none() {
            self.first = self.choose(&[]);
        }
        if self.first.is_none() {
            let until = self.deadline.min(self.node.started + GETTING_TO_KNOW);
            Box::pin(self.node.wait_for_news(&self.envelope.name, until)).await;
            now = Instant::now();
        }
        let mut tried: Vec<Arc<str>> = Vec::new();
        // Whether a node that did not answer may have done the work.
        let mut doubt = false;
        let mut last = None;
        for _ in 0..self.node.limits.delivery_attempts.max(1) {
            let Some(target) = self.choose(&tried) else { break };
            match self.ask(&target.id, now).await {
                Asked::Answered(Ok(reply)) => {
                    target.trust();
                    return Ok(reply);
                }
                Asked::Answered(Err(error)) if self.moves_on(&error) => {
                    target.avoid(self.node.limits.avoid_for);
                    last = Some(error);
                }
                Asked::Answered(Err(error)) => {
                    // A failure is an answer too; these come from this node, or from the transport.
                    if !matches!(error.kind(), ErrorKind::Transport | ErrorKind::ShuttingDown | ErrorKind::Replaced) {
                        target.trust();
                    }
                    let outcome = if doubt && error.outcome() == Outcome::NotStarted {
                        Outcome::Unknown
                    } else {
                        error.outcome()
                    };
                    return Err(error.with_outcome(outcome));
                }
                Asked::Gone => {
                    target.avoid(self.node.limits.avoid_for);
                    doubt = true;
                    // What another node's run emits may have left before: receivers are to look.
                    self.envelope.repeat = true;
                    last = Some(Error::unknown(
                        ErrorKind::Transport,
                        format!("node `{}` stopped answering while it had the request", target.id),
                    ));
                }
                Asked::TimedOut => {
                    return Err(Error::unknown(
                        ErrorKind::TimedOut,
                        format!("no reply to `{}` from node `{}` by the deadline", self.envelope.name, target.id),
                    ));
                }
                Asked::NotSent => {
                    let outcome = if doubt { Outcome::Unknown } else { Outcome::NotStarted };
                    let text =
                        format!("the deadline of `{}` passed before it could leave this node", self.envelope.name);
                    return Err(Error::new(ErrorKind::TimedOut, outcome, text));
                }
            }
            tried.push(target.id);
            now = Instant::now();
        }
        let error = last.unwrap_or_else(|| self.nobody());
        Err(if doubt { error.with_outcome(Outcome::Unknown) } else { error })
    }

    fn choose(&mut self, tried: &[Arc<str>]) -> Option<Target> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let table = self.node.cluster.table().load();
        if let Some(id) = &self.target {
            return (!tried.contains(id)).then(|| Target { id: id.clone(), view: table.get(id).cloned() });
        }
        let (name, route) = (&self.envelope.name, self.node.handlers.route(self.index)?);
        choose(&table, name, self.key.as_deref(), self.node.routing, &route.turn, tried).map(Target::of)
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

    /// Asks one node. Hot: nearly all requests end with the first reply.
    async fn ask(&self, target: &Arc<str>, now: Instant) -> Asked {
        // This node knows that it is alive; its own queue loses nothing.
        let own = **target == *self.node.id;
        // One that does not wait until it is probed has a timer of its own.
        let probe_at = (!own).then(|| now + self.node.limits.probe_after).filter(|probe_at| *probe_at < self.deadline);
        let (waiting, heard) = Waiting::new(probe_at);
        let mut envelope = self.copy(now, false);
        if own {
            if let Queued::Waits(sent) = queue(&self.node.local, LocalRequest { envelope, waiting }, self.deadline)
                && !sent.await
            {
                return Asked::NotSent;
            }
        } else {
            match self.node.asks.go_alone(&mut envelope, waiting) {
                Ok(()) => {
                    if let Some(ended) = self.send_alone(target, envelope).await {
                        return ended;
                    }
                }
                Err(waiting) => {
                    let ask = Ask { node: target.clone(), envelope, deadline: self.deadline, waiting };
                    if let Err(ended) = self.hand_over(ask).await {
                        return ended;
                    }
                }
            }
            // It may have been handed over just when the task ended.
            if self.node.asks.is_closed() {
                return Asked::Answered(Err(abandoned(&self.node)));
            }
        }
        let heard = match probe_at {
            Some(_) => heard.await,
            None => match Box::pin(tokio::time::timeout_at(self.deadline, heard)).await {
                Ok(heard) => heard,
                Err(_) => return Asked::TimedOut,
            },
        };
        match heard {
            Ok(Heard::Reply(reply)) => Asked::Answered(reply),
            Ok(Heard::Silence(_)) if Instant::now() >= self.deadline => Asked::TimedOut,
            Ok(Heard::Silence(heard)) => Box::pin(self.probe(target, heard)).await,
            Ok(Heard::NotSent) => Asked::NotSent,
            Err(_) => Asked::Answered(Err(abandoned(&self.node))),
        }
    }

    /// Probes a node that is silent, and asks it again while it is alive.
    async fn probe(&self, target: &Arc<str>, heard: Hearing) -> Asked {
        // Every time that the node is asked again there is one more reply to wait for; the first one counts.
        let mut replies = FuturesUnordered::from_iter([heard]);
        loop {
            let pong = tokio::select! {
                biased;
                reply = next_reply(&self.node, &mut replies) => return Asked::Answered(reply),
                pong = self.send(target, true) => pong,
            };
            let pong = match pong {
                Ok(pong) => pong,
                Err(Asked::NotSent) => return Asked::TimedOut,
                Err(_) => return Asked::Answered(Err(abandoned(&self.node))),
            };
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
                _ if Instant::now() >= self.deadline => return Asked::TimedOut,
                Ok(Probed::Gone) | Err(_) => return Asked::Gone,
            };
            let again = tokio::select! {
                biased;
                reply = next_reply(&self.node, &mut replies) => return Asked::Answered(reply),
                again = self.send(target, false) => again,
            };
            replies.extend(again.ok());
            let silent_until = probe_at.min(self.deadline);
            match tokio::time::timeout_at(silent_until, next_reply(&self.node, &mut replies)).await {
                Ok(reply) => return Asked::Answered(reply),
                Err(_) if Instant::now() >= self.deadline => return Asked::TimedOut,
                Err(_) => {}
            }
        }
    }

    /// Hands the request once more, or a probe in its place, to the task that sends.
    async fn send(&self, target: &Arc<str>, probe: bool) -> Result<Hearing, Asked> {
        let (waiting, heard) = Waiting::new(None);
        let (node, envelope, deadline) = (target.clone(), self.copy(Instant::now(), probe), self.deadline);
        self.hand_over(Ask { node, envelope, deadline, waiting }).await.map(|()| heard)
    }

    /// Sends a request that goes alone; says how that ended if nobody needs to wait for a reply. Hot: nearly always there is
    /// room, and nothing waits.
    async fn send_alone(&self, target: &Arc<str>, envelope: Envelope) -> Option<Asked> {
        let mut sending = self.node.link.request(target, vec![envelope]);
        let sent = match futures_util::poll!(&mut sending) {
            Poll::Ready(sent) => Ok(sent),
            Poll::Pending => tokio::time::timeout_at(self.deadline, sending).await,
        };
        match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Asked::Answered(Err(error.with_outcome(Outcome::NotStarted)))),
            // It may have left, nobody knows.
            Err(_) => Some(Asked::TimedOut),
        }
    }

    /// Hands a request over to the task that sends; an error is how it ended for want of a place.
    async fn hand_over(&self, ask: Ask) -> Result<(), Asked> {
        let asks = &self.node.asks;
        if !asks.places.try_take() {
            match self.node.closed.run_until_cancelled(asks.places.take(ask.deadline)).await {
                Some(true) => {}
                Some(false) => return Err(Asked::NotSent),
                None => return Err(Asked::Answered(Err(self.node.why_closed().with_outcome(Outcome::NotStarted)))),
            }
        }
        asks.hand_over(ask);
        Ok(())
    }

    /// The request as it leaves, or a probe in its place.
    fn copy(&self, now: Instant, probe: bool) -> Envelope {
        let left = self.deadline.saturating_duration_since(now);
        let mut envelope = self.envelope.clone();
        envelope.request = Some(Box::new(RequestPart {
            token: 0,
            key: self.key.clone(),
            remaining_ms: millis(left),
            deadline_ms: self.deadline_ms,
            probe,
        }));
        if probe {
            envelope.payload = Bytes::new();
        }
        envelope
    }
}

/// Whether something is in a queue.
enum Queued<'a> {
    Sent,
    /// Says whether there was room by the deadline.
    Waits(BoxFuture<'a, bool>),
}

/// Puts something into a queue. One that is gone drops the sender of the answer with the request.
fn queue<T: Send>(queue: &mpsc::Sender<T>, item: T, deadline: Instant) -> Queued<'_> {
    match queue.try_send(item) {
        Err(mpsc::error::TrySendError::Full(item)) => {
            Queued::Waits(Box::pin(async move { tokio::time::timeout_at(deadline, queue.send(item)).await.is_ok() }))
        }
        Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Queued::Sent,
    }
}

/// Where a reply arrives.
type Hearing = oneshot::Receiver<Heard>;

/// The first reply to arrive. Replies that can no longer come are passed over while others may, and so is that a copy of the
/// request was not begun: another copy may have been.
async fn next_reply(node: &Node, replies: &mut FuturesUnordered<Hearing>) -> Result<Bytes, Error> {
    std::future::poll_fn(|cx| {
        loop {
            match replies.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(Heard::Reply(Err(error)))))
                    if error.outcome() == Outcome::NotStarted && !replies.is_empty() => {}
                Poll::Ready(Some(Ok(Heard::Reply(reply)))) => return Poll::Ready(reply),
                Poll::Ready(Some(Ok(Heard::Silence(heard)))) => replies.push(heard),
                Poll::Ready(Some(Ok(Heard::NotSent) | Err(_))) => {}
                Poll::Ready(None) => return Poll::Ready(Err(abandoned(node))),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}
