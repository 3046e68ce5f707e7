//! The mediator: the one door through which a program sends requests and publishes events.

use std::sync::{Arc, atomic::Ordering};

use futures_util::future::BoxFuture;

use crate::{
    builder::Builder,
    cluster::Cluster,
    context::Context,
    dead_letters::DeadLetters,
    delivery::{counters::Counts, node::Node, table::Route},
    emitting::emission,
    envelope::{Envelope, Headers},
    error::{Error, Failure},
    extract::{FromContext, Missing, States},
    message::{AnyMessage, Event, Request},
    publishing::{PublishOptions, Publishing},
    sending::{Extras, SendOptions, Sending},
    signal::Signals,
};

/// Sends commands and queries to the handlers that answer them, and events to the handlers that wait for them.
///
/// A clone is the same mediator. Dropping the last one does not stop the node: call [`shutdown`](Self::shutdown).
#[derive(Clone)]
pub struct Mediator {
    pub(crate) node: Arc<Node>,
    /// Handed to a handler: it works until the node has ended, so that a handler that runs can finish.
    within: bool,
}

impl Mediator {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node, within: false }
    }

    /// Refuses what comes from outside while the node shuts down, and everything once it has ended.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        let closed = match self.within {
            false => self.node.shutting_down.load(Ordering::Relaxed),
            true => self.node.farewell.get().is_some(),
        };
        if closed { Err(self.node.why_closed()) } else { Ok(()) }
    }

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
    pub fn send<R: Request>(&self, request: R) -> Sending<R, R::Response> {
        Sending::new(self.clone(), request, None)
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
    pub fn send_with<R: Request>(&self, request: R, options: SendOptions) -> Sending<R, R::Response> {
        Sending::new(self.clone(), request, Some(Extras::boxed(options, None)))
    }

    pub(crate) fn envelope(
        &self,
        route: &Route,
        message: &dyn AnyMessage,
        parent: Option<&Context>,
        headers: Headers,
    ) -> Result<Envelope, Error> {
        headers.check()?;
        let payload = message.encode()?;
        self.node.check_size(message.name(), payload.len())?;
        let mut envelope = Envelope::new(route.name.clone(), route.message.kind, &self.node.id, payload);
        envelope.headers = headers;
        if let Some(parent) = parent {
            envelope.correlation = parent.correlation();
            envelope.causation = Some(parent.id());
            envelope.headers.follow(parent.headers());
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
    pub fn publish<E: Event>(&self, event: E) -> Publishing<E> {
        Publishing::new(self.clone(), event, PublishOptions::default(), None)
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
    pub fn publish_with<E: Event>(&self, event: E, options: PublishOptions) -> Publishing<E> {
        Publishing::new(self.clone(), event, options, None)
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
    pub fn publish_all<'a, E: Event>(
        &self,
        events: impl IntoIterator<Item = E, IntoIter: Send + 'a>,
    ) -> BoxFuture<'a, Result<usize, Error>> {
        // Boxed: a future that shows the iterator's type cannot be spawned where that type borrows.
        Box::pin(self.clone().publish_in_order(events.into_iter()))
    }

    /// The id of this node.
    pub fn node(&self) -> &str {
        &self.node.id
    }

    /// The nodes of the application, as this node sees them.
    pub fn cluster(&self) -> &Cluster {
        &self.node.cluster
    }

    /// What this node has counted since its start.
    pub fn counts(&self) -> Counts {
        self.node.counters.read()
    }

    /// Whether this node can take work now; if it cannot, the error says why. What is sent all the same may succeed, for
    /// example when it stays on this node.
    ///
    /// # Errors
    ///
    /// `ShuttingDown`, or `Replaced` if another node took the id of this one; `Transport` while there is no connection to
    /// the other nodes; `Configuration` when the server refuses something that the node needs.
    pub fn ready(&self) -> Result<(), Error> {
        self.check_open()?;
        self.node.link.health()
    }

    /// The reliable events that handlers gave up.
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters::new(self.node.link.clone())
    }

    /// Stops the node: takes nothing more, lets running handlers finish, gives back what was not started, and leaves.
    ///
    /// It takes at most [`Limits::shutdown`](crate::Limits::shutdown); handlers that still run then are cancelled. On a
    /// transport that does not survive the process, it first handles what is stored for it alone, and for groups of which no
    /// other member stays.
    ///
    /// # Errors
    ///
    /// `TimedOut` if handlers were cancelled or stored events were left; `Replaced` if another node took the id of this one;
    /// `Transport` if the transport had ended.
    ///
    /// # Cancellation
    ///
    /// Once polled, the node goes on shutting down also when the future is dropped.
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.node.shut_down(self.node.generated).await
    }

    /// [`shutdown`](Self::shutdown), and never comes back: what is stored for this node is not kept for it.
    ///
    /// # Errors
    ///
    /// As `shutdown`, also for what becomes of the node when the future is dropped.
    pub async fn leave_for_good(&self) -> Result<(), Error> {
        self.node.shut_down(true).await
    }

    /// Serves until the process is asked to end (Ctrl-C, or SIGTERM), then shuts down. Ends too when the node ends otherwise.
    ///
    /// Signals are heard from the first poll on; a service that is not to miss an earlier one makes [`Signals`] before it
    /// builds its node.
    ///
    /// # Errors
    ///
    /// As [`shutdown`](Self::shutdown).
    ///
    /// # Cancellation
    ///
    /// The node goes on as it does: serving, or shutting down if that has begun.
    pub async fn run_until_signal(&self) -> Result<(), Error> {
        self.run_until(Signals::listen()?.asked()).await
    }

    /// Serves until `asked` completes, then shuts down. Ends too when the node ends otherwise.
    ///
    /// # Errors
    ///
    /// As [`run_until_signal`](Self::run_until_signal), also for what becomes of the node when the future is dropped.
    pub async fn run_until(&self, asked: impl Future<Output = ()>) -> Result<(), Error> {
        tokio::select! {
            () = asked => {}
            () = self.node.ended.cancelled() => {}
        }
        self.shutdown().await
    }
}

impl std::fmt::Debug for Mediator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mediator").field("node", &self.node()).finish_non_exhaustive()
    }
}

/// Only a type whose traits were written by hand gets here.
pub(crate) fn unregistered(name: &str) -> Error {
    Error::configuration(format!("`{name}` is not registered: derive `Command`, `Query` or `Event` for it"))
}

impl FromContext for Mediator {
    type Parts = ();

    fn resolve(_: &States) -> Result<(), Missing> {
        Ok(())
    }

    fn from_context((): &(), context: &Context) -> Result<Self, Failure> {
        Ok(Self::of(context))
    }
}

impl Mediator {
    pub(crate) fn of(context: &Context) -> Self {
        #[expect(clippy::expect_used, reason = "a node is the only port that there is")]
        let node = context.port().clone().into_any().downcast().expect("a context is made by a node");
        Self { node, within: true }
    }
}

impl Context {
    /// Emits an event: it leaves when this handler has succeeded, before its reply or its acknowledgement. What a failed
    /// handler emitted never leaves.
    ///
    /// A run emits at most 10,000 events: one that emits more fails. What a task emits that the handler started and that
    /// goes on after it does not leave; that is logged and counted.
    pub fn emit<E: Event>(&self, event: E) {
        self.push(emission(Box::new(Some(event))));
    }

    /// Publishes an event at once, in the same conversation: correlation goes on, and this message is its cause. Unlike what
    /// is [emitted](Self::emit), it has left also when the handler fails afterwards, and a second run publishes it again.
    ///
    /// # Errors
    ///
    /// As [`Mediator::publish`].
    ///
    /// # Cancellation
    ///
    /// As [`Mediator::publish`].
    pub fn publish<E: Event>(&self, event: E) -> Publishing<E> {
        self.publish_with(event, PublishOptions::default())
    }

    /// [`publish`](Self::publish) with an id, a time-out or headers; those of this message do not go on by themselves.
    ///
    /// # Errors
    ///
    /// As [`Mediator::publish`].
    ///
    /// # Cancellation
    ///
    /// As [`Mediator::publish`].
    pub fn publish_with<E: Event>(&self, event: E, options: PublishOptions) -> Publishing<E> {
        Publishing::new(Mediator::of(self), event, options, Some(self.clone()))
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
    pub fn send<R: Request>(&self, request: R) -> Sending<R, R::Response> {
        self.send_with(request, SendOptions::default())
    }

    /// [`send`](Self::send) with a key, a time-out, headers or a node to go to.
    ///
    /// # Errors
    ///
    /// As [`Mediator::send_with`].
    ///
    /// # Cancellation
    ///
    /// As [`Mediator::send`].
    pub fn send_with<R: Request>(&self, request: R, options: SendOptions) -> Sending<R, R::Response> {
        Sending::new(Mediator::of(self), request, Some(Extras::boxed(options, Some(self.clone()))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::{
        cluster::record::{Announcement, Record},
        transport::{InProcess, Registration, Transport},
    };

    #[tokio::test]
    async fn a_node_that_hears_of_a_later_one_under_its_id_ends() {
        let broker = InProcess::new();
        let first = Mediator::builder().discover(false).node("node1").transport(broker.clone()).build().await.unwrap();
        let none = Vec::new;
        let (app, node) = ("catga".into(), "node2".into());
        let second = Registration {
            app,
            node,
            incarnation: 1,
            events: none(),
            requests: none(),
            durables: Vec::new(),
            queue: 1,
        };
        let second = broker.join(second).await.unwrap();
        let announce = async |incarnation| {
            let (node, requests_hash) = ("node1".into(), 0);
            let record =
                Record { node, incarnation, endpoint: None, load: 0, started_ms: 0, requests_hash, requests: None };
            second.link.announce(Announcement::Here(record).encode()).await.unwrap();
        };
        let own = first.cluster().node("node1").unwrap().incarnation;
        announce(own - 1).await;
        announce(own).await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        first.check_open().unwrap();
        announce(own + 1).await;
        assert_eq!(first.run_until(std::future::pending()).await.unwrap_err().kind(), crate::ErrorKind::Replaced);
    }
}
