//! A request on its way: here, polled where it was made, or elsewhere.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::Instant;

use crate::{
    cluster::{Routing, routing},
    codec,
    context::{Context, Metadata, Run, Source},
    delivery::{
        call::Call,
        limits::LONGEST,
        node::Node,
        observe::Occurrence,
        server::answer_of,
        table::{HandlerEntry, Route},
    },
    envelope::{Envelope, Headers},
    error::{Error, ErrorKind},
    handler::Start,
    id::is_name,
    mediator::{Mediator, killed, recode, unregistered},
    message::Request,
    middleware::{
        gate::{Entry, Permit},
        run::{RunError, Started, finish_with_retries, start},
    },
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

/// How long a node that has just started waits to get to know the others before it says that nobody handles a request.
const GETTING_TO_KNOW: Duration = Duration::from_millis(500);

impl Mediator {
    /// Sends a request, of a conversation or on its own.
    pub(crate) fn send_from<R: Request>(
        &self,
        request: R,
        options: SendOptions,
        parent: Option<&Context>,
    ) -> Sending<R::Response> {
        match self.node.observer {
            None => self.send_here_or_there(request, options, parent),
            Some(_) => self.send_recoded(request, options, parent),
        }
    }

    /// [`send_from`](Self::send_from), where a test wants every message encoded, also one that stays in the process.
    fn send_recoded<R: Request>(
        &self,
        request: R,
        options: SendOptions,
        parent: Option<&Context>,
    ) -> Sending<R::Response> {
        match recode(R::NAME, &request) {
            Ok(request) => {
                let sending = self.send_here_or_there(request, options, parent);
                Sending::slow(async move { recode(R::NAME, &sending.await?) })
            }
            Err(error) => Sending::ready(Err(error)),
        }
    }

    /// Hot: a request that a handler of this node answers at once costs one allocation, that of the handler's future.
    fn send_here_or_there<R: Request>(
        &self,
        request: R,
        options: SendOptions,
        parent: Option<&Context>,
    ) -> Sending<R::Response> {
        let node = &self.node;
        if let Err(error) = self.check_open() {
            return Sending::ready(Err(error));
        }
        let Some(route) = node.handlers.route::<R>() else { return Sending::ready(Err(unregistered::<R>())) };
        if let Some(target) = options.node.as_deref()
            && !is_name(target)
        {
            let text = format!("`{}` is not the id of a node", target.escape_debug());
            return Sending::ready(Err(Error::configuration(text)));
        }
        route.sent.add(1);
        let plain = options.key.is_none() && options.node.is_none();
        let first = if plain { self.elsewhere(route) } else { None };
        if plain
            && first.is_none()
            && let Some(handler) = &route.request
            && let Some(typed) = handler.typed::<R>()
        {
            match handler.enter() {
                Entry::Now(permit) => {
                    let local = Local::new(node, handler, options, parent);
                    return local.send(request, typed, permit);
                }
                Entry::Wait(turn) => {
                    let mut local = Local::new(node, handler, options, parent);
                    let typed = typed.clone();
                    let deadline = Instant::now() + local.patience;
                    return Sending::slow(async move {
                        let permit = match tokio::time::timeout_at(deadline, turn).await {
                            Ok(Ok(permit)) => permit,
                            Ok(Err(_)) => return Err(Error::shutting_down()),
                            Err(_) => {
                                let text = "the deadline passed before a handler could start";
                                return Err(Error::not_started(ErrorKind::TimedOut, text));
                            }
                        };
                        local.patience = deadline.saturating_duration_since(Instant::now());
                        local.send(request, &typed, permit).await
                    });
                }
                // The local queue is full: another node may have room.
                Entry::Full if node.cluster.table().load().others() => {}
                Entry::Full => {
                    node.counters.refused(1);
                    let text = format!("the queue of handler `{}` is full", handler.name);
                    return Sending::ready(Err(Error::not_started(ErrorKind::Overloaded, text)));
                }
            }
        }
        let envelope = match self.envelope(route, &request, parent, options.headers) {
            Ok(envelope) => envelope,
            Err(error) => return Sending::ready(Err(error)),
        };
        node.observe(R::NAME, envelope.id, || Occurrence::Sent);
        let patience = options.timeout.unwrap_or(node.limits.send_deadline).min(LONGEST);
        let (mediator, key, target) = (self.clone(), options.key, options.node.map(Into::into));
        Sending::slow(async move {
            let reply = mediator.call::<R>(envelope, key, target, first, patience).await?;
            codec::decode(R::NAME, &reply).map_err(|error| error.with_outcome(crate::error::Outcome::Unknown))
        })
    }

    /// The other node whose turn it is to have a request without a key, where nodes take turns.
    fn elsewhere(&self, route: &Route) -> Option<Arc<str>> {
        if self.node.routing == Routing::LocalFirst {
            return None;
        }
        let table = self.node.cluster.table().load();
        let chosen = routing::choose(&table, &route.name, None, self.node.routing, &route.turn, &[])?;
        (!chosen.own).then(|| chosen.id.clone())
    }

    async fn call<R: Request>(
        self,
        envelope: Envelope,
        key: Option<String>,
        target: Option<Arc<str>>,
        first: Option<Arc<str>>,
        patience: Duration,
    ) -> Result<Bytes, Error> {
        let node = &self.node;
        let Some(route) = node.handlers.route::<R>() else { return Err(unregistered::<R>()) };
        let deadline = Instant::now() + patience;
        node.wait_for_news(&envelope.name, deadline.min(node.started + GETTING_TO_KNOW)).await;
        let call = Call { node, route, envelope, key, target, first, deadline };
        tokio::select! {
            biased;
            reply = call.run() => reply,
            () = node.tasks.until_killed() => Err(killed()),
        }
    }
}

/// A request that a handler of this node answers.
struct Local {
    node: Arc<Node>,
    handler: Arc<HandlerEntry>,
    patience: Duration,
    /// Made only when somebody needs it.
    metadata: OnceLock<Metadata>,
}

impl Local {
    fn new(node: &Arc<Node>, handler: &Arc<HandlerEntry>, options: SendOptions, parent: Option<&Context>) -> Self {
        let patience = options.timeout.unwrap_or(node.limits.send_deadline).min(LONGEST);
        let metadata = OnceLock::new();
        if parent.is_some() || !options.headers.is_empty() {
            let mut fresh = Metadata { headers: options.headers, ..Metadata::fresh() };
            if let Some(parent) = parent {
                (fresh.correlation, fresh.causation) = (parent.correlation(), Some(parent.id()));
            }
            // The cell is empty: setting it cannot fail.
            drop(metadata.set(fresh));
        }
        Self { node: node.clone(), handler: handler.clone(), patience, metadata }
    }

    fn start<R: Request>(&self, request: R, typed: &Arc<dyn Start<R>>, attempt: u32) -> Started<R::Response> {
        let mut run = Run::new(&*self.node, &self.handler.name, Source::Lazy(&self.metadata));
        run.patience = Some(self.patience);
        run.attempt = attempt;
        start(run, &self.handler.meter, |run| typed.start(request, run))
    }

    fn send<R: Request>(self, request: R, typed: &Arc<dyn Start<R>>, permit: Permit) -> Sending<R::Response> {
        if self.node.observer.is_some() {
            self.node.observe(R::NAME, self.metadata.get_or_init(Metadata::fresh).id, || Occurrence::Sent);
        }
        if self.handler.retry.attempts <= 1 {
            let started = self.start(request, typed, 1);
            return Sending(State::InPlace(started, self, permit));
        }
        let typed = typed.clone();
        Sending::slow(async move {
            let started = self.start(request.clone(), &typed, 1);
            let again = |attempt| {
                self.node.counters.retries(1);
                self.start(request.clone(), &typed, attempt)
            };
            let (policy, limit) = (self.handler.retry, self.handler.timeout);
            let run = finish_with_retries(Ok(started), policy, limit, None, RunError::repeats_request, again);
            let (result, attempts) = self.by_the_deadline(run).await?;
            drop(permit);
            self.conclude(result, attempts)
        })
    }

    /// Waits for a run, at most to the deadline of the request.
    async fn by_the_deadline<T>(&self, run: impl Future<Output = T>) -> Result<T, Error> {
        if !self.node.default_layers {
            return Ok(run.await);
        }
        tokio::select! {
            biased;
            result = tokio::time::timeout(self.patience, run) => result.map_err(|_| Error::unknown(
                ErrorKind::TimedOut,
                format!("handler `{}` did not answer within {:?}", self.handler.name, self.patience),
            )),
            () = self.node.tasks.until_killed() => Err(killed()),
        }
    }

    fn conclude<R>(&self, result: Result<R, RunError>, attempt: u32) -> Result<R, Error> {
        if self.node.observer.is_some() {
            let id = self.metadata.get_or_init(Metadata::fresh).id;
            let handler = self.handler.name.clone();
            self.node.observe(self.handler.message.name, id, || match &result {
                Ok(_) => Occurrence::Handled { handler, attempt },
                Err(error) => Occurrence::Failed { handler, attempt, failure: error.failure.clone() },
            });
        }
        result.map_err(|error| answer_of(&self.handler.name, error).0)
    }
}

/// A request on its way; a future of the reply.
#[must_use = "a request is sent when its future is awaited"]
pub struct Sending<R>(State<R>);

#[expect(clippy::large_enum_variant, reason = "the large variant is the fast path: a box would cost it an allocation")]
enum State<R> {
    Ready(Option<Result<R, Error>>),
    /// A run that is polled first where it was made.
    InPlace(Started<R>, Local, Permit),
    Slow(BoxFuture<'static, Result<R, Error>>),
}

/// Nothing in it is pinned but what is boxed.
impl<R> Unpin for Sending<R> {}

impl<R> Sending<R> {
    pub(crate) fn ready(result: Result<R, Error>) -> Self {
        Self(State::Ready(Some(result)))
    }

    fn slow(future: impl Future<Output = Result<R, Error>> + Send + 'static) -> Self {
        Self(State::Slow(Box::pin(future)))
    }
}

impl<R: Send + 'static> Future for Sending<R> {
    type Output = Result<R, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Slow(future) => return future.poll_unpin(cx),
            State::Ready(result) => {
                return match result.take() {
                    Some(result) => Poll::Ready(result),
                    // Polled again after its end, which a future may answer as it likes.
                    None => Poll::Pending,
                };
            }
            State::InPlace(started, local, _) => {
                if let Poll::Ready(result) = started.poll_first(cx) {
                    let result = local.conclude(result, 1);
                    // Lets go of the permit now, not when the caller drops the future.
                    self.0 = State::Ready(None);
                    return Poll::Ready(result);
                }
            }
        }
        let State::InPlace(started, local, permit) = std::mem::replace(&mut self.0, State::Ready(None)) else {
            return Poll::Pending;
        };
        let mut slow = Box::pin(async move {
            let result = local.by_the_deadline(started.finish(local.handler.timeout)).await?;
            drop(permit);
            local.conclude(result, 1)
        });
        let poll = slow.poll_unpin(cx);
        self.0 = State::Slow(slow);
        poll
    }
}

impl<R> std::fmt::Debug for Sending<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sending(..)")
    }
}
