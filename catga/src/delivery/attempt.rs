//! One attempt of a request: a node is asked, and probed when it is silent.

use std::{sync::Arc, task::Poll};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Duration, Instant},
};

use super::{
    asks::{Ask, Heard},
    call::Call,
    node::Node,
    requests::{abandoned, millis},
    server::LocalRequest,
};
use crate::{
    envelope::{Envelope, RequestPart},
    error::{Error, ErrorKind, Outcome},
    waiting::Waiting,
};

/// The pause between two probes of a node that is alive.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// How asking one node ended.
pub(super) enum Asked {
    Answered(Result<Bytes, Error>),
    /// The node is gone; what it did with the request is not known.
    Gone,
    /// The caller's time is over.
    TimedOut,
    /// It was over before the request could leave.
    NotSent,
}

/// Waits for room, and hands over. Nearly always there is some, and this is kept out of the future of the call: memory of more
/// than a thousand bytes costs the allocator a lock each time.
type Full<'a> = BoxFuture<'a, Result<(), Asked>>;

/// How far a request has come.
enum Begun<'a> {
    HandedOver,
    Waits(Full<'a>),
    /// It is on its way, and no other is.
    Alone(BoxFuture<'a, Result<(), Error>>),
}

/// What a probe brought to light.
enum Probed {
    Answered(Result<Bytes, Error>),
    Alive,
    Gone,
}

impl Call {
    /// Asks one node. Hot: nearly all requests end with the first reply.
    pub(super) async fn ask(&self, target: &Arc<str>, now: Instant) -> Asked {
        // This node knows that it is alive; its own queue loses nothing.
        let own = **target == *self.node.id;
        // One that does not wait until it is probed has a timer of its own.
        let probe_at = (!own).then(|| now + self.node.limits.probe_after).filter(|probe_at| *probe_at < self.deadline);
        let (waiting, heard) = Waiting::new(probe_at);
        match self.begin(target, own, waiting, now) {
            Begun::HandedOver => {}
            Begun::Waits(full) => {
                if let Err(ended) = full.await {
                    return ended;
                }
            }
            Begun::Alone(sending) => {
                if let Some(ended) = self.sent_alone(sending).await {
                    return ended;
                }
            }
        }
        // It may have been handed over just when the task ended.
        if !own && self.node.asks.is_closed() {
            return Asked::Answered(Err(abandoned(&self.node)));
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

    /// Lets a request leave as far as it can at once.
    fn begin<'a>(&'a self, target: &'a Arc<str>, own: bool, waiting: Waiting<Heard>, now: Instant) -> Begun<'a> {
        let mut envelope = self.copy(now, false);
        let full = match own {
            true => self.keep(LocalRequest { envelope, waiting }),
            false => match self.node.asks.go_alone(&mut envelope, waiting) {
                Ok(()) => return Begun::Alone(self.node.link.request(target, vec![envelope])),
                Err(waiting) => {
                    self.hand_over(Ask { node: target.clone(), envelope, deadline: self.deadline, waiting })
                }
            },
        };
        full.map_or(Begun::HandedOver, Begun::Waits)
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
        if let Some(full) = self.hand_over(Ask { node, envelope, deadline, waiting }) {
            full.await?;
        }
        Ok(heard)
    }

    /// Waits until a request that goes alone has left; says how that ended if nobody needs to wait for a reply. Hot: nearly
    /// always there is room, and nothing waits.
    async fn sent_alone(&self, mut sending: BoxFuture<'_, Result<(), Error>>) -> Option<Asked> {
        let sent = match futures_util::poll!(&mut sending) {
            Poll::Ready(sent) => Ok(sent),
            Poll::Pending => Box::pin(tokio::time::timeout_at(self.deadline, sending)).await,
        };
        match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Asked::Answered(Err(error.with_outcome(Outcome::NotStarted)))),
            // It may have left, nobody knows.
            Err(_) => Some(Asked::TimedOut),
        }
    }

    /// Hands a request over to the task that sends, or gives what waits for a place before.
    fn hand_over(&self, ask: Ask) -> Option<Full<'_>> {
        let asks = &self.node.asks;
        if asks.places.try_take() {
            asks.hand_over(ask);
            return None;
        }
        Some(Box::pin(async move {
            match self.node.closed.run_until_cancelled(asks.places.take(ask.deadline)).await {
                Some(true) => asks.hand_over(ask),
                Some(false) => return Err(Asked::NotSent),
                None => return Err(Asked::Answered(Err(self.node.why_closed().with_outcome(Outcome::NotStarted)))),
            }
            Ok(())
        }))
    }

    /// Hands a request to this node's own memory. One that is gone drops the sender of the answer with the request.
    fn keep(&self, request: LocalRequest) -> Option<Full<'_>> {
        let Err(mpsc::error::TrySendError::Full(request)) = self.node.local.try_send(request) else { return None };
        Some(Box::pin(async move {
            let kept = tokio::time::timeout_at(self.deadline, self.node.local.send(request)).await;
            kept.map(drop).map_err(|_| Asked::NotSent)
        }))
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
