//! The mediator: the one door through which a program sends requests and publishes events.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::{
    builder::Builder,
    cluster::{Cluster, Routing, routing},
    codec,
    context::{Context, Emission, Metadata, Run, Source},
    dead_letters::DeadLetters,
    delivery::{
        call::Call,
        counters::Counts,
        events,
        node::Node,
        observe::Occurrence,
        server::answer_of,
        table::{HandlerEntry, Route},
    },
    envelope::{Envelope, Headers},
    error::{Error, ErrorKind, Failure},
    extract::{FromContext, Missing, States},
    handler::Start,
    id::MessageId,
    message::{Event, Message, Qos, Request},
    middleware::{
        gate::{Entry, Permit},
        run::{RunError, Started, finish_with_retries, start},
    },
};

/// Sends commands and queries to the handlers that answer them, and events to the handlers that wait for them.
///
/// A clone is the same mediator. Dropping the last one does not stop the node: call [`shutdown`](Self::shutdown).
#[derive(Clone)]
pub struct Mediator(pub(crate) Arc<Node>);

/// What a sender says beside its request.
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

/// What a publisher says beside its event.
#[derive(Clone, Debug, Default)]
pub struct PublishOptions {
    /// An id of the publisher's own, for example that of a row in a database: a repeat under it is recognised.
    pub id: Option<MessageId>,
    /// How long to wait for the store.
    pub timeout: Option<Duration>,
    /// What travels with the event.
    pub headers: Headers,
}

/// How many events `publish_all` hands over before it waits for the store.
const PUBLISH_WINDOW: usize = 256;
/// How long a node that has just started waits to get to know the others before it says that nobody handles a request.
const GETTING_TO_KNOW: Duration = Duration::from_millis(500);

impl Mediator {
    /// Starts to describe a mediator.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Sends a command or a query and waits for the reply.
    ///
    /// # Errors
    ///
    /// What the handler answered, or why there is no answer; [`Error::outcome`] says whether the work may have been done.
    ///
    /// # Cancellation
    ///
    /// A handler on this node is cancelled when the future is dropped. One on another node runs to its end. A request
    /// with a key runs to its end wherever it runs.
    pub fn send<R: Request>(&self, request: R) -> Sending<R::Response> {
        self.send_with(request, SendOptions::default())
    }

    /// [`send`](Self::send) with a key, a time-out, headers or a node to go to.
    ///
    /// # Errors
    ///
    /// As `send`; `KeyReused` if the key belongs to a request with other content.
    ///
    /// # Cancellation
    ///
    /// As `send`.
    pub fn send_with<R: Request>(&self, request: R, options: SendOptions) -> Sending<R::Response> {
        self.send_from(request, options, None)
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
    fn send_from<R: Request>(
        &self,
        request: R,
        options: SendOptions,
        parent: Option<&Context>,
    ) -> Sending<R::Response> {
        match self.0.observer {
            None => self.send_here_or_there(request, options, parent),
            Some(_) => self.send_recoded(request, options, parent),
        }
    }

    fn send_here_or_there<R: Request>(
        &self,
        request: R,
        options: SendOptions,
        parent: Option<&Context>,
    ) -> Sending<R::Response> {
        let node = &self.0;
        if parent.is_none()
            && let Err(error) = node.check_open()
        {
            return Sending::ready(Err(error));
        }
        let Some(route) = node.handlers.route::<R>() else { return Sending::ready(Err(unregistered::<R>())) };
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
                    let local = Local::new(node, handler, options, parent);
                    let typed = typed.clone();
                    return Sending::slow(async move {
                        let deadline = Instant::now() + local.patience;
                        let permit = match tokio::time::timeout_at(deadline, turn).await {
                            Ok(Ok(permit)) => permit,
                            Ok(Err(_)) => return Err(Error::shutting_down()),
                            Err(_) => {
                                let text = "the deadline passed before a handler could start";
                                return Err(Error::not_started(ErrorKind::TimedOut, text));
                            }
                        };
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
        let patience = options.timeout.unwrap_or(node.limits.send_deadline);
        let (mediator, key, target) = (self.clone(), options.key, options.node.map(Into::into));
        Sending::slow(async move {
            let reply = mediator.call::<R>(envelope, key, target, first, patience).await?;
            codec::decode(R::NAME, &reply).map_err(|error| error.with_outcome(crate::error::Outcome::Unknown))
        })
    }

    /// The other node whose turn it is to have a request without a key, where nodes take turns.
    fn elsewhere(&self, route: &Route) -> Option<Arc<str>> {
        if self.0.routing == Routing::LocalFirst {
            return None;
        }
        let table = self.0.cluster.table().load();
        let chosen = routing::choose(&table, &route.name, None, self.0.routing, &route.turn, &[])?;
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
        let node = &self.0;
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

    fn envelope<M: Message>(
        &self,
        route: &Route,
        message: &M,
        parent: Option<&Context>,
        headers: Headers,
    ) -> Result<Envelope, Error> {
        headers.check()?;
        let mut envelope = Envelope::new(route.name.clone(), M::KIND, &self.0.id, self.0.encode(message)?);
        envelope.headers = headers;
        if let Some(parent) = parent {
            envelope.correlation = parent.correlation();
            envelope.causation = Some(parent.id());
        }
        Ok(envelope)
    }

    /// Publishes an event.
    ///
    /// An event of QoS 0 has been handed to the transport and to the handlers of this node when this returns. A
    /// `#[reliable]` event has been stored: from then on it is handled at least once by every registered node.
    ///
    /// # Errors
    ///
    /// `Codec` or `TooLarge` if it cannot travel. For a reliable event also `Overloaded` and whatever kept it from being
    /// stored; after [`Outcome::Unknown`](crate::Outcome::Unknown) it may be handled.
    ///
    /// # Cancellation
    ///
    /// An event whose future is dropped may or may not be published.
    pub async fn publish<E: Event>(&self, event: E) -> Result<(), Error> {
        self.publish_with(event, PublishOptions::default()).await
    }

    /// [`publish`](Self::publish) with an id, a time-out or headers.
    ///
    /// # Errors
    ///
    /// As `publish`.
    ///
    /// # Cancellation
    ///
    /// As `publish`.
    pub async fn publish_with<E: Event>(&self, event: E, options: PublishOptions) -> Result<(), Error> {
        self.0.check_open()?;
        let Some(route) = self.0.handlers.route::<E>() else { return Err(unregistered::<E>()) };
        match E::QOS {
            Qos::AtMostOnce => {
                let metadata = OnceLock::new();
                let chosen = options.id.is_some() || !options.headers.is_empty();
                let others = self.0.cluster.table().load().others();
                if chosen || others {
                    let envelope = self.event_envelope(route, &event, options)?;
                    // The cell is empty: setting it cannot fail.
                    drop(metadata.set(Metadata::of(&envelope, None)));
                    if others {
                        self.hand_over(route, envelope).await;
                    }
                }
                self.handle_here(route, &event, &metadata, || Occurrence::Sent).await;
                Ok(())
            }
            Qos::AtLeastOnce => {
                let timeout = options.timeout.unwrap_or(self.0.limits.send_deadline);
                let envelope = self.event_envelope(route, &event, options)?;
                self.store(route, envelope, timeout, || Occurrence::Sent).await
            }
        }
    }

    /// Publishes events of one type in order, many at a time.
    ///
    /// Returns how many there were. It stops at the first that cannot be published: [`Error::stored`] says how many
    /// before it were stored. Of those that were under way with it, later ones may be stored too.
    ///
    /// # Errors
    ///
    /// As `publish`.
    ///
    /// # Cancellation
    ///
    /// Any number of the events may be published when the future is dropped.
    pub async fn publish_all<E: Event>(&self, events: impl IntoIterator<Item = E>) -> Result<usize, Error> {
        let mut events = events.into_iter();
        let mut stored = 0;
        loop {
            let window: Vec<_> = events.by_ref().take(PUBLISH_WINDOW).map(|event| self.publish(event)).collect();
            if window.is_empty() {
                return Ok(stored);
            }
            for result in futures_util::future::join_all(window).await {
                result.map_err(|error| error.with_stored(stored))?;
                stored += 1;
            }
        }
    }

    fn event_envelope<E: Event>(&self, route: &Route, event: &E, options: PublishOptions) -> Result<Envelope, Error> {
        let mut envelope = self.envelope(route, event, None, options.headers)?;
        if let Some(id) = options.id {
            (envelope.id, envelope.correlation, envelope.repeat) = (id, id, true);
        }
        Ok(envelope)
    }

    /// Hands an event of QoS 0 to the other nodes; one that finds no room is counted.
    async fn hand_over(&self, route: &Route, envelope: Envelope) {
        let id = envelope.id;
        let lane = self.0.lane(route);
        if let Err(error) = lane.hand_over(envelope, self.0.limits.publish_timeout).await {
            self.0.counters.drop_events(1, "the lane is full");
            self.0.observe(&route.name, id, || Occurrence::Dropped);
            tracing::debug!(target: "catga::delivery", %error, "an event of QoS 0 was dropped");
        }
    }

    async fn handle_here<E: Event>(
        &self,
        route: &Route,
        event: &E,
        metadata: &OnceLock<Metadata>,
        how: impl FnOnce() -> Occurrence,
    ) {
        if self.0.observer.is_some() {
            self.0.observe(E::NAME, metadata.get_or_init(Metadata::fresh).id, how);
        }
        if route.events.is_empty() {
            self.0.mention_unhandled(route);
        }
        // Under a test, as if it had come from another node.
        let recoded = self.0.observer.is_some().then(|| recode(E::NAME, event));
        match recoded {
            None => events::handle_here(&self.0, route, event, metadata).await,
            Some(Ok(event)) => events::handle_here(&self.0, route, &event, metadata).await,
            Some(Err(error)) => tracing::error!(target: "catga", %error, "an event does not survive its encoding"),
        }
    }

    /// Stores a reliable event.
    async fn store(
        &self,
        route: &Route,
        envelope: Envelope,
        timeout: Duration,
        how: impl FnOnce() -> Occurrence,
    ) -> Result<(), Error> {
        let id = envelope.id;
        if route.events.is_empty() {
            self.0.mention_unhandled(route);
        }
        self.0.observe(&route.name, id, how);
        tokio::select! {
            biased;
            stored = self.0.lane(route).store(envelope, timeout) => stored,
            () = self.0.tasks.until_killed() => Err(killed()),
        }
    }

    /// The id of this node.
    pub fn node(&self) -> &str {
        &self.0.id
    }

    /// The nodes of the application, as this node sees them.
    pub fn cluster(&self) -> &Cluster {
        &self.0.cluster
    }

    /// What this node has counted since its start.
    pub fn counts(&self) -> Counts {
        self.0.counters.read()
    }

    /// The reliable events that handlers gave up.
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters::new(self.0.link.clone())
    }

    /// Stops the node: takes nothing more, lets running handlers finish, gives back what was not started, and leaves.
    ///
    /// It takes at most [`Limits::shutdown`](crate::Limits::shutdown); handlers that still run then are cancelled. On a
    /// transport that does not survive the process, the last node first handles what is stored.
    ///
    /// # Errors
    ///
    /// `TimedOut` if handlers were cancelled or stored events were left.
    ///
    /// # Cancellation
    ///
    /// The node goes on shutting down only while the future is polled.
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.0.shut_down(self.0.generated).await
    }

    /// [`shutdown`](Self::shutdown), and never comes back: what is stored for this node is not kept for it.
    ///
    /// # Errors
    ///
    /// As `shutdown`.
    ///
    /// # Cancellation
    ///
    /// As `shutdown`.
    pub async fn leave_for_good(&self) -> Result<(), Error> {
        self.0.shut_down(true).await
    }

    /// Serves until the process is asked to end (Ctrl-C, or SIGTERM), then shuts down.
    ///
    /// # Errors
    ///
    /// As [`shutdown`](Self::shutdown).
    ///
    /// # Cancellation
    ///
    /// As [`shutdown`](Self::shutdown).
    pub async fn run_until_signal(&self) -> Result<(), Error> {
        crate::signal::wait().await?;
        self.shutdown().await
    }
}

impl std::fmt::Debug for Mediator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mediator").field("node", &self.node()).finish_non_exhaustive()
    }
}

fn recode<T: Serialize + DeserializeOwned>(name: &str, value: &T) -> Result<T, Error> {
    codec::decode(name, &codec::encode(name, value)?)
}

/// Only a type whose traits were written by hand gets here.
fn unregistered<M: Message>() -> Error {
    Error::configuration(format!("`{}` is not registered: derive `Command`, `Query` or `Event` for it", M::NAME))
}

fn killed() -> Error {
    Error::unknown(ErrorKind::ShuttingDown, "this node was killed")
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
        let patience = options.timeout.unwrap_or(node.limits.send_deadline);
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
        start(run, |run| typed.start(request, run))
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
            let run = finish_with_retries(Ok(started), policy, limit, RunError::repeats_request, again);
            let result = self.by_the_deadline(run).await?;
            drop(permit);
            self.conclude(result)
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

    fn conclude<R>(&self, result: Result<R, RunError>) -> Result<R, Error> {
        if self.node.observer.is_some() {
            let id = self.metadata.get_or_init(Metadata::fresh).id;
            let handler = self.handler.name.clone();
            self.node.observe(self.handler.message.name, id, || match &result {
                Ok(_) => Occurrence::Handled { handler, attempt: 1 },
                Err(error) => Occurrence::Failed { handler, attempt: 1, failure: error.failure.clone() },
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
    fn ready(result: Result<R, Error>) -> Self {
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
                    let result = local.conclude(result);
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
            local.conclude(result)
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

impl FromContext for Mediator {
    type Parts = ();

    fn resolve(_: &States) -> Result<(), Missing> {
        Ok(())
    }

    fn from_context((): &(), context: &Context) -> Result<Self, Failure> {
        Self::of(context)
    }
}

impl Mediator {
    fn of(context: &Context) -> Result<Self, Failure> {
        let node = context.port().clone().into_any().downcast::<Node>();
        // A context is only ever made by a node.
        node.map(Self).map_err(|_| Failure::new("context", "the context belongs to no mediator").permanent())
    }
}

impl Context {
    /// Emits an event: it leaves when this handler has succeeded, before its reply or its acknowledgement. What a failed
    /// handler emitted never leaves.
    pub fn emit<E: Event>(&self, event: E) {
        self.push(Box::new(Emitted(event)));
    }

    /// Sends a request in the same conversation: correlation goes on, and this message is its cause.
    ///
    /// # Errors
    ///
    /// As [`Mediator::send`].
    ///
    /// # Cancellation
    ///
    /// As [`Mediator::send`].
    pub fn send<R: Request>(&self, request: R) -> Sending<R::Response> {
        match Mediator::of(self) {
            Ok(mediator) => mediator.send_from(request, SendOptions::default(), Some(self)),
            Err(failure) => Sending::ready(Err(Error::handler(self.handler(), failure))),
        }
    }
}

/// An event that waits for its handler to succeed.
struct Emitted<E>(E);

impl<E: Event> Emission for Emitted<E> {
    fn name(&self) -> &'static str {
        E::NAME
    }

    fn encode(&self) -> Result<Bytes, Error> {
        codec::encode(E::NAME, &self.0)
    }

    fn leave(
        self: Box<Self>,
        context: Context,
        id: MessageId,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            let Ok(mediator) = Mediator::of(&context) else { return Ok(()) };
            let Some(route) = mediator.0.handlers.route::<E>() else { return Err(unregistered::<E>()) };
            let mut envelope = Envelope::new(route.name.clone(), E::KIND, &mediator.0.id, payload);
            envelope.id = id;
            envelope.correlation = context.correlation();
            envelope.causation = Some(context.id());
            envelope.repeat = context.attempt() > 1 || context.metadata().repeat;
            if E::QOS == Qos::AtLeastOnce {
                let timeout = mediator.0.limits.send_deadline;
                return mediator.store(route, envelope, timeout, || Occurrence::Emitted).await;
            }
            let metadata = OnceLock::from(Metadata::of(&envelope, None));
            if mediator.0.cluster.table().load().others() {
                mediator.hand_over(route, envelope).await;
            }
            mediator.handle_here(route, &self.0, &metadata, || Occurrence::Emitted).await;
            Ok(())
        })
    }
}
