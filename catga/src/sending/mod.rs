//! A request on its way: here, polled where it was made, or elsewhere.

mod local;

use std::{
    future::Future,
    pin::Pin,
    sync::OnceLock,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::Instant;

use self::local::{Here, Local};
use crate::{
    cluster::{Routing, routing},
    codec,
    context::{Context, Metadata},
    delivery::{
        call::{Call, Target},
        limits::LONGEST,
        node::Node,
        observe::Occurrence,
        table::Route,
    },
    envelope::Headers,
    error::{Error, ErrorKind, Outcome},
    handler::Given,
    id::is_name,
    mediator::{Mediator, unregistered},
    message::{AnyMessage, Reply, Request},
    middleware::gate::Entry,
};

/// What a sender says beside its request.
///
/// ```
/// use catga::SendOptions;
///
/// let once = SendOptions { key: Some("order-42".into()), ..SendOptions::default() };
/// ```
#[derive(Clone, Debug, Default)]
pub struct SendOptions {
    /// Makes the request idempotent: within the window, a repeat under the same key is answered and not executed again.
    pub key: Option<String>,
    /// How long to wait for the reply; the default is that of [`Limits`](crate::Limits).
    pub timeout: Option<Duration>,
    /// What travels with the request.
    pub headers: Headers,
    /// The only node that may handle it.
    pub node: Option<String>,
}

/// A request on its way; a future of the reply. Nothing is done before it is polled.
// Small, because it moves: what is rarely said is behind a pointer.
#[must_use = "a request is sent when its future is awaited"]
pub struct Sending<R, T> {
    mediator: Mediator,
    /// Until a handler has it, or a copy is on its way.
    request: Option<R>,
    state: State<T>,
    /// The work for this type of request. A pointer, so that the future asks nothing of `R`: a call with something that is
    /// no request is then one mistake and not several.
    step: fn(&mut Self, &mut TaskContext<'_>) -> Poll<Result<T, Error>>,
}

enum State<T> {
    New(Option<Box<Extras>>),
    Here(BoxFuture<'static, Result<T, Error>>),
    /// With the name of the type, for the reply.
    Away(BoxFuture<'static, Result<Bytes, Error>>, &'static str),
    Done,
}

/// What a request is sent with beside itself.
#[derive(Default)]
pub(crate) struct Extras {
    options: SendOptions,
    /// Of the handler that sends it, if one does.
    parent: Option<Context>,
}

impl Extras {
    pub(crate) fn boxed(options: SendOptions, parent: Option<Context>) -> Box<Self> {
        Box::new(Self { options, parent })
    }
}

/// Nothing in it is pinned but what is boxed.
impl<R, T> Unpin for Sending<R, T> {}

impl<R: Request> Sending<R, R::Response> {
    /// A request, of a conversation or on its own.
    pub(crate) fn new(mediator: Mediator, request: R, extras: Option<Box<Extras>>) -> Self {
        Self { mediator, request: Some(request), state: State::New(extras), step: Self::step }
    }

    fn step(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<R::Response, Error>> {
        let poll = self.state.poll(&self.mediator, &mut self.request, cx);
        if poll.is_pending() {
            self.request = None;
        }
        poll
    }
}

impl<T: Reply> State<T> {
    fn poll(
        &mut self,
        mediator: &Mediator,
        request: &mut dyn AnyMessage,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<T, Error>> {
        if let Self::New(_) = self
            && let Self::New(extras) = std::mem::replace(self, Self::Done)
        {
            match mediator.begin_to_send(request, extras, cx)? {
                Ok(reply) => return Poll::Ready(Ok(reply)),
                Err(going) => *self = going,
            }
        }
        let poll = match self {
            Self::Here(going) => going.poll_unpin(cx),
            Self::Away(going, name) => going
                .poll_unpin(cx)
                .map(|reply| codec::decode(name, &reply?).map_err(|error| error.with_outcome(Outcome::Unknown))),
            // Polled again after its end, which a future may answer as it likes.
            Self::New(_) | Self::Done => Poll::Pending,
        };
        if poll.is_ready() {
            *self = Self::Done;
        }
        poll
    }
}

impl<R, T> Future for Sending<R, T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        (self.step)(&mut self, cx)
    }
}

impl<R, T> std::fmt::Debug for Sending<R, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sending(..)")
    }
}

impl Mediator {
    /// Sends a request; gives the reply, or what is to be polled for it. Hot: one that a handler of this node answers at
    /// once costs one allocation, that of the handler's future; and no count of owners, for nothing outlives the call.
    fn begin_to_send<T: Reply>(
        &self,
        request: &mut dyn AnyMessage,
        extras: Option<Box<Extras>>,
        cx: &mut TaskContext<'_>,
    ) -> Result<Result<T, State<T>>, Error> {
        let node = &*self.node;
        self.check_open()?;
        let Some(route) = node.handlers.route(request.index()) else { return Err(unregistered(request.name())) };
        let mut plain = true;
        if let Some(Extras { options, .. }) = extras.as_deref() {
            if let Some(target) = options.node.as_deref()
                && !is_name(target)
            {
                let text = format!("`{}` is not the id of a node", target.escape_debug());
                return Err(Error::configuration(text));
            }
            plain = options.key.is_none() && options.node.is_none();
        }
        route.sent.add(1);
        let first = match node.routing {
            Routing::LocalFirst => None,
            _ if plain => self.elsewhere(route),
            _ => None,
        };
        if plain
            && first.is_none()
            && let Some(handler) = &route.request
            && let Some(typed) = handler.typed::<T>()
        {
            let patience = patience(node, extras.as_deref());
            // A test wants every message encoded, also one that stays in the process.
            let mut read;
            let given = Given::Taken(match node.observer {
                Some(_) => {
                    read = typed.unpack(Given::Encoded(&request.encode()?))?;
                    &mut *read
                }
                None => request,
            });
            match handler.enter() {
                Entry::Now(pass) if handler.retry.attempts <= 1 => {
                    let metadata = metadata(extras);
                    let here = Here { node, handler, metadata: &metadata, patience };
                    here.observe_sent();
                    let mut started = here.start(&**typed, given, 1, patience);
                    if let Poll::Ready(result) = started.poll_first(cx) {
                        return here.conclude(result, 1).map(Ok);
                    }
                    let local = Local { node: self.node.clone(), handler: handler.clone(), patience, metadata };
                    return Ok(Err(State::Here(Box::pin(local.finish(pass.keep(), started)))));
                }
                Entry::Now(pass) => {
                    let metadata = metadata(extras);
                    let local = Local { node: self.node.clone(), handler: handler.clone(), patience, metadata };
                    local.here().observe_sent();
                    let going = local.send_with_retries(typed.clone(), typed.keep(given), pass.keep());
                    return Ok(Err(State::Here(Box::pin(going))));
                }
                Entry::Wait(turn) => {
                    let metadata = metadata(extras);
                    let local = Local { node: self.node.clone(), handler: handler.clone(), patience, metadata };
                    let going = local.send_in_turn(typed.clone(), typed.keep(given), turn);
                    return Ok(Err(State::Here(Box::pin(going))));
                }
                // The local queue is full: another node may have room.
                Entry::Full if node.cluster.table().load().others() => {}
                // A gate that has closed takes nobody either.
                Entry::Full if node.stop.is_cancelled() => return Err(node.why_closed()),
                Entry::Full => {
                    node.counters.refused(1);
                    let text = format!("the queue of handler `{}` is full", handler.name);
                    return Err(Error::not_started(ErrorKind::Overloaded, text));
                }
            }
        }
        Ok(Err(State::Away(self.send_away(route, request, extras, first)?, route.message.name)))
    }

    /// Sends a request to another node, or to this one's memory of requests; gives a future of the encoded reply.
    fn send_away(
        &self,
        route: &Route,
        request: &dyn AnyMessage,
        extras: Option<Box<Extras>>,
        first: Option<Target>,
    ) -> Result<BoxFuture<'static, Result<Bytes, Error>>, Error> {
        let patience = patience(&self.node, extras.as_deref());
        let Extras { options, parent } = *extras.unwrap_or_default();
        let SendOptions { key, headers, node: target, .. } = options;
        let envelope = self.envelope(route, request, parent.as_ref(), headers)?;
        self.node.observe(route.message.name, envelope.id, || Occurrence::Sent);
        let now = Instant::now();
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let mut call = Call {
            index: request.index(),
            key,
            target: target.map(Into::into),
            first,
            deadline: now + patience,
            deadline_ms: envelope.time_ms.saturating_add(patience_ms),
            envelope,
            node: self.node.clone(),
        };
        Ok(Box::pin(async move {
            let tasks = call.node.tasks.clone();
            tokio::select! {
                biased;
                reply = call.run(now) => reply,
                () = tasks.until_killed() => Err(Error::killed()),
            }
        }))
    }

    /// The other node whose turn it is to have a request without a key, where nodes take turns.
    fn elsewhere(&self, route: &Route) -> Option<Target> {
        let table = self.node.cluster.table().load();
        let chosen = routing::choose(&table, &route.name, None, self.node.routing, &route.turn, &[])?;
        (!chosen.own).then(|| Target::of(chosen))
    }
}

/// How long the sender of a request waits.
#[inline]
fn patience(node: &Node, extras: Option<&Extras>) -> Duration {
    let said = extras.and_then(|extras| extras.options.timeout);
    said.map_or(node.limits.send_deadline, |timeout| timeout.min(LONGEST))
}

/// What is said of a request that stays here; most say nothing.
#[inline]
fn metadata(extras: Option<Box<Extras>>) -> OnceLock<Metadata> {
    match extras {
        Some(extras) => metadata_of(*extras),
        None => OnceLock::new(),
    }
}

fn metadata_of(Extras { options, parent }: Extras) -> OnceLock<Metadata> {
    if parent.is_none() && options.headers.is_empty() {
        return OnceLock::new();
    }
    let mut fresh = Metadata { headers: options.headers, ..Metadata::fresh() };
    if let Some(parent) = &parent {
        (fresh.correlation, fresh.causation) = (parent.correlation(), Some(parent.id()));
        fresh.headers.follow(parent.headers());
    }
    OnceLock::from(fresh)
}
