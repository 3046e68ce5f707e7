//! A request on its way: here, polled where it was made, or elsewhere.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context as TaskContext, Poll},
    time::Duration,
};

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
        table::{HandlerEntry, HandlerTable, Route},
    },
    envelope::Headers,
    error::{Error, ErrorKind},
    handler::Start,
    id::is_name,
    mediator::{Mediator, killed, recode, unregistered},
    message::Request,
    middleware::{
        gate::{Entry, Permit, Turn},
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

/// A request on its way; a future of the reply. Nothing is done before it is polled.
#[must_use = "a request is sent when its future is awaited"]
pub struct Sending<R, T> {
    state: State<R, T>,
    /// The work for this type of request. A pointer, so that the future asks nothing of `R`: a call with something that is
    /// no request is then one mistake and not several.
    step: fn(&mut Self, &mut TaskContext<'_>) -> Poll<Result<T, Error>>,
}

enum State<R, T> {
    New(Unsent<R>),
    Going(BoxFuture<'static, Result<T, Error>>),
    Done,
}

/// What a request is sent with.
struct Unsent<R> {
    mediator: Mediator,
    request: R,
    options: SendOptions,
    /// Of the handler that sends it, if one does.
    parent: Option<Context>,
}

/// How the first poll of a request ended.
enum First<T> {
    Answered(T),
    Going(BoxFuture<'static, Result<T, Error>>),
}

/// Nothing in it is pinned but what is boxed.
impl<R, T> Unpin for Sending<R, T> {}

impl<R: Request> Sending<R, R::Response> {
    /// A request, of a conversation or on its own.
    pub(crate) fn new(mediator: Mediator, request: R, options: SendOptions, parent: Option<Context>) -> Self {
        Self { state: State::New(Unsent { mediator, request, options, parent }), step: Self::step }
    }

    fn step(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<R::Response, Error>> {
        let mut going = match std::mem::replace(&mut self.state, State::Done) {
            State::New(unsent) => match unsent.send(cx)? {
                First::Answered(reply) => return Poll::Ready(Ok(reply)),
                First::Going(going) => going,
            },
            State::Going(going) => going,
            // Polled again after its end, which a future may answer as it likes.
            State::Done => return Poll::Pending,
        };
        let poll = going.poll_unpin(cx);
        if poll.is_pending() {
            self.state = State::Going(going);
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

impl<R: Request> Unsent<R> {
    /// Sends the request. Hot: one that a handler of this node answers at once costs one allocation, that of the handler's
    /// future.
    fn send(mut self, cx: &mut TaskContext<'_>) -> Result<First<R::Response>, Error> {
        let node = &self.mediator.node;
        self.mediator.check_open()?;
        if node.observer.is_some() {
            // A test wants every message encoded, also one that stays in the process.
            self.request = recode(R::NAME, &self.request)?;
        }
        let Some(route) = node.handlers.route::<R>() else { return Err(unregistered::<R>()) };
        if let Some(target) = self.options.node.as_deref()
            && !is_name(target)
        {
            let text = format!("`{}` is not the id of a node", target.escape_debug());
            return Err(Error::configuration(text));
        }
        route.sent.add(1);
        let plain = self.options.key.is_none() && self.options.node.is_none();
        let first = if plain { self.mediator.elsewhere(route) } else { None };
        if plain
            && first.is_none()
            && let Some(handler) = &route.request
            && let Some(typed) = handler.typed::<R>()
        {
            match handler.enter() {
                Entry::Now(permit) => {
                    let (handler, typed) = (handler.clone(), typed.clone());
                    let local = Local::new(self.mediator.node, handler, typed, self.options, self.parent.as_ref());
                    return local.send(self.request, permit, cx);
                }
                Entry::Wait(turn) => {
                    let (handler, typed) = (handler.clone(), typed.clone());
                    let local = Local::new(self.mediator.node, handler, typed, self.options, self.parent.as_ref());
                    return Ok(First::Going(Box::pin(local.send_in_turn(self.request, turn))));
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
        let SendOptions { key, timeout, headers, node: target } = self.options;
        let envelope = self.mediator.envelope(route, &self.request, self.parent.as_ref(), headers)?;
        node.observe(R::NAME, envelope.id, || Occurrence::Sent);
        let patience = timeout.unwrap_or(node.limits.send_deadline).min(LONGEST);
        let mut call = Call {
            route: HandlerTable::route::<R>,
            envelope,
            key,
            target: target.map(Into::into),
            first,
            deadline: Instant::now() + patience,
            node: self.mediator.node,
        };
        Ok(First::Going(Box::pin(async move {
            let tasks = call.node.tasks.clone();
            let reply = tokio::select! {
                biased;
                reply = call.run() => reply?,
                () = tasks.until_killed() => return Err(killed()),
            };
            codec::decode(R::NAME, &reply).map_err(|error| error.with_outcome(crate::error::Outcome::Unknown))
        })))
    }
}

impl Mediator {
    /// The other node whose turn it is to have a request without a key, where nodes take turns.
    fn elsewhere(&self, route: &Route) -> Option<Arc<str>> {
        if self.node.routing == Routing::LocalFirst {
            return None;
        }
        let table = self.node.cluster.table().load();
        let chosen = routing::choose(&table, &route.name, None, self.node.routing, &route.turn, &[])?;
        (!chosen.own).then(|| chosen.id.clone())
    }
}

/// A request that a handler of this node answers.
struct Local<R: Request> {
    node: Arc<Node>,
    handler: Arc<HandlerEntry>,
    typed: Arc<dyn Start<R>>,
    patience: Duration,
    /// Made only when somebody needs it.
    metadata: OnceLock<Metadata>,
}

impl<R: Request> Local<R> {
    fn new(
        node: Arc<Node>,
        handler: Arc<HandlerEntry>,
        typed: Arc<dyn Start<R>>,
        options: SendOptions,
        parent: Option<&Context>,
    ) -> Self {
        let patience = options.timeout.unwrap_or(node.limits.send_deadline).min(LONGEST);
        let metadata = OnceLock::new();
        if parent.is_some() || !options.headers.is_empty() {
            let mut fresh = Metadata { headers: options.headers, ..Metadata::fresh() };
            if let Some(parent) = parent {
                (fresh.correlation, fresh.causation) = (parent.correlation(), Some(parent.id()));
                fresh.headers.follow(parent.headers());
            }
            // The cell is empty: setting it cannot fail.
            drop(metadata.set(fresh));
        }
        Self { node, handler, typed, patience, metadata }
    }

    fn start(&self, request: R, attempt: u32, patience: Duration) -> Started<R::Response> {
        let mut run = Run::new(&*self.node, &self.handler.name, Source::Lazy(&self.metadata));
        run.patience = Some(patience);
        run.attempt = attempt;
        start(run, &self.handler.meter, |run| self.typed.start(request, run))
    }

    /// Polls the handler once here; what is not ready goes on in a box.
    fn send(self, request: R, permit: Permit, cx: &mut TaskContext<'_>) -> Result<First<R::Response>, Error> {
        self.observe_sent();
        if self.handler.retry.attempts > 1 {
            return Ok(First::Going(Box::pin(self.send_with_retries(request, permit))));
        }
        let mut started = self.start(request, 1, self.patience);
        if let Poll::Ready(result) = started.poll_first(cx) {
            return self.conclude(result, 1).map(First::Answered);
        }
        Ok(First::Going(Box::pin(async move {
            let result = self.by_the_deadline(started.finish(self.handler.timeout)).await?;
            drop(permit);
            self.conclude(result, 1)
        })))
    }

    /// Sends a request when it is its turn, if that comes by its deadline.
    async fn send_in_turn(mut self, request: R, turn: Turn) -> Result<R::Response, Error> {
        let deadline = Instant::now() + self.patience;
        let permit = match tokio::time::timeout_at(deadline, turn).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(self.node.why_closed()),
            Err(_) => {
                let text = "the deadline passed before a handler could start";
                return Err(Error::not_started(ErrorKind::TimedOut, text));
            }
        };
        self.patience = deadline.saturating_duration_since(Instant::now());
        self.observe_sent();
        if self.handler.retry.attempts > 1 {
            return self.send_with_retries(request, permit).await;
        }
        let started = self.start(request, 1, self.patience);
        let result = self.by_the_deadline(started.finish(self.handler.timeout)).await?;
        drop(permit);
        self.conclude(result, 1)
    }

    async fn send_with_retries(self, request: R, permit: Permit) -> Result<R::Response, Error> {
        let deadline = Instant::now() + self.patience;
        let started = self.start(request.clone(), 1, self.patience);
        let again = |attempt| {
            self.node.counters.retries(1);
            self.start(request.clone(), attempt, deadline.saturating_duration_since(Instant::now()))
        };
        let (policy, limit) = (self.handler.retry, self.handler.timeout);
        let last = self.node.default_layers.then_some(deadline);
        let run = finish_with_retries(Ok(started), policy, limit, last, RunError::repeats_request, again);
        let (result, attempts) = self.by_the_deadline(run).await?;
        drop(permit);
        self.conclude(result, attempts)
    }

    /// Waits for a run, at most to the deadline of the request and to the end of the time to shut down.
    async fn by_the_deadline<T>(&self, run: impl Future<Output = T>) -> Result<T, Error> {
        let (handler, patience) = (&self.handler.name, self.patience);
        let late = async {
            match self.node.default_layers {
                true => tokio::time::sleep(patience).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            result = run => Ok(result),
            () = late => {
                let text = format!("handler `{handler}` did not answer within {patience:?}");
                Err(Error::unknown(ErrorKind::TimedOut, text))
            }
            () = self.node.tasks.until_killed() => Err(killed()),
            () = self.node.cancel.cancelled() => {
                let text = format!("handler `{handler}` was cancelled: the time to shut down this node was over");
                Err(Error::unknown(ErrorKind::ShuttingDown, text))
            }
        }
    }

    fn observe_sent(&self) {
        if self.node.observer.is_some() {
            self.node.observe(R::NAME, self.metadata.get_or_init(Metadata::fresh).id, || Occurrence::Sent);
        }
    }

    fn conclude(&self, result: Result<R::Response, RunError>, attempt: u32) -> Result<R::Response, Error> {
        let handler = &self.handler.name;
        if self.node.observer.is_none() {
            return result.map_err(|error| answer_of(handler, error).0);
        }
        self.node.observe(R::NAME, self.metadata.get_or_init(Metadata::fresh).id, || match &result {
            Ok(_) => Occurrence::Handled { handler: handler.clone(), attempt },
            Err(error) => Occurrence::Failed { handler: handler.clone(), attempt, failure: error.failure.clone() },
        });
        // A test wants the reply encoded too, and held to the limit of one that crosses.
        let reply = codec::encode(R::NAME, &result.map_err(|error| answer_of(handler, error).0)?)?;
        self.node.check_reply(handler, reply.len())?;
        codec::decode(R::NAME, &reply)
    }
}
