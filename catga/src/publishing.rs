//! An event on its way: to the handlers of this node in place, to other nodes, or into the store.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::OnceLock,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};

use crate::{
    codec,
    context::{Context, Emission, Metadata},
    delivery::{events, limits::LONGEST, observe::Occurrence, table::Route},
    envelope::{Envelope, Headers},
    error::Error,
    id::MessageId,
    mediator::{Mediator, killed, recode, unregistered},
    message::{Event, Qos},
};

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

/// An event that is being published; a future.
#[must_use = "an event is published when its future is awaited"]
pub struct Publishing<E> {
    mediator: Mediator,
    state: State<E>,
    /// The work for this type of event. A pointer, so that the future asks nothing of `E`: a call with something that is
    /// no event is then one mistake and not three.
    step: fn(&mut Self, &mut TaskContext<'_>) -> Poll<Result<(), Error>>,
}

enum State<E> {
    /// With the context of the handler that publishes it, if one does.
    New(E, PublishOptions, Option<Context>),
    /// Waits for room on the way to other nodes, if there is none; then it is the turn of this one's handlers.
    Leaving(Option<BoxFuture<'static, ()>>, E, OnceLock<Metadata>),
    Storing(BoxFuture<'static, Result<(), Error>>),
    Done,
}

/// Nothing in it is pinned but what is boxed.
impl<E> Unpin for Publishing<E> {}

impl<E: Event> Publishing<E> {
    pub(crate) fn new(mediator: Mediator, event: E, options: PublishOptions, parent: Option<Context>) -> Self {
        Self { mediator, state: State::New(event, options, parent), step: Self::step }
    }

    fn step(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Error>> {
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::New(event, options, parent) => self.state = self.begin(event, options, parent.as_ref())?,
                State::Leaving(mut leaving, event, metadata) => {
                    if leaving.as_mut().is_some_and(|leaving| leaving.poll_unpin(cx).is_pending()) {
                        self.state = State::Leaving(leaving, event, metadata);
                        return Poll::Pending;
                    }
                    self.mediator.handle_here(&event, &metadata, cx, || Occurrence::Sent);
                    return Poll::Ready(Ok(()));
                }
                State::Storing(mut storing) => {
                    let stored = storing.poll_unpin(cx);
                    if stored.is_pending() {
                        self.state = State::Storing(storing);
                    }
                    return stored;
                }
                // Polled again after its end.
                State::Done => return Poll::Pending,
            }
        }
    }

    /// Starts; an event of QoS 0 that stays in the process goes on at once.
    fn begin(&self, event: E, options: PublishOptions, parent: Option<&Context>) -> Result<State<E>, Error> {
        let mediator = &self.mediator;
        mediator.check_open()?;
        let Some(route) = mediator.node.handlers.route::<E>() else { return Err(unregistered::<E>()) };
        route.sent.add(1);
        let timeout = options.timeout.unwrap_or(mediator.node.limits.send_deadline).min(LONGEST);
        if E::QOS == Qos::AtLeastOnce {
            let envelope = self.envelope(route, &event, options, parent)?;
            let mediator = mediator.clone();
            return Ok(State::Storing(Box::pin(async move {
                mediator.store::<E>(envelope, timeout, || Occurrence::Sent).await
            })));
        }
        let metadata = OnceLock::new();
        let mut leaving = None;
        let others = !mediator.node.private;
        if others || options.id.is_some() || !options.headers.is_empty() || parent.is_some() {
            let envelope = self.envelope(route, &event, options, parent)?;
            // The cell is empty: setting it cannot fail.
            drop(metadata.set(Metadata::of(&envelope, None)));
            leaving = if others { mediator.hand_over::<E>(envelope) } else { None };
        }
        Ok(State::Leaving(leaving, event, metadata))
    }

    fn envelope(
        &self,
        route: &Route,
        event: &E,
        options: PublishOptions,
        parent: Option<&Context>,
    ) -> Result<Envelope, Error> {
        let mut envelope = self.mediator.envelope(route, event, parent, options.headers)?;
        if let Some(id) = options.id {
            (envelope.id, envelope.repeat) = (id, true);
            if parent.is_none() {
                envelope.correlation = id;
            }
        }
        Ok(envelope)
    }
}

impl<E> Future for Publishing<E> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        (self.step)(&mut self, cx)
    }
}

impl<E> fmt::Debug for Publishing<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Publishing(..)")
    }
}

impl Mediator {
    /// Hands an event of QoS 0 to the other nodes; gives a future if it has to wait for room. What finds none is counted.
    fn hand_over<E: Event>(&self, envelope: Envelope) -> Option<BoxFuture<'static, ()>> {
        let route = self.node.handlers.route::<E>()?;
        let envelope = self.node.lane(route).try_hand_over(envelope).err()?;
        let node = self.node.clone();
        Some(Box::pin(async move {
            let Some(route) = node.handlers.route::<E>() else { return };
            let id = envelope.id;
            if let Err(error) = node.lane(route).hand_over(*envelope, node.limits.publish_timeout).await {
                node.counters.drop_events(1, "the lane is full");
                node.observe(E::NAME, id, || Occurrence::Dropped);
                tracing::debug!(target: "catga::delivery", %error, "an event of QoS 0 was dropped");
            }
        }))
    }

    /// Gives an event of QoS 0 to the handlers of this node.
    fn handle_here<E: Event>(
        &self,
        event: &E,
        metadata: &OnceLock<Metadata>,
        cx: &mut TaskContext<'_>,
        how: impl FnOnce() -> Occurrence,
    ) {
        let Some(route) = self.node.handlers.route::<E>() else { return };
        if route.events.is_empty() {
            self.node.mention_unhandled(route);
        }
        if self.node.observer.is_none() {
            return events::handle_here(&self.node, route, event, metadata, cx);
        }
        // Under a test, as if it had come from another node.
        self.node.observe(E::NAME, metadata.get_or_init(Metadata::fresh).id, how);
        match recode(E::NAME, event) {
            Ok(event) => events::handle_here(&self.node, route, &event, metadata, cx),
            Err(error) => tracing::error!(target: "catga", %error, "an event does not survive its encoding"),
        }
    }

    /// Stores a reliable event.
    async fn store<E: Event>(
        &self,
        envelope: Envelope,
        timeout: Duration,
        how: impl FnOnce() -> Occurrence,
    ) -> Result<(), Error> {
        let Some(route) = self.node.handlers.route::<E>() else { return Err(unregistered::<E>()) };
        if route.events.is_empty() {
            self.node.mention_unhandled(route);
        }
        self.node.observe(E::NAME, envelope.id, how);
        tokio::select! {
            biased;
            stored = self.node.lane(route).store(envelope, timeout) => stored,
            () = self.node.tasks.until_killed() => Err(killed()),
        }
    }
}

/// An event that waits for its handler to succeed.
pub(crate) struct Emitted<E>(pub(crate) E);

impl<E: Event> Emission for Emitted<E> {
    fn name(&self) -> &'static str {
        E::NAME
    }

    fn encode(&self) -> Result<Bytes, Error> {
        codec::encode_isolated(E::NAME, &self.0)
    }

    fn leave(
        self: Box<Self>,
        context: Context,
        id: MessageId,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            let mediator = Mediator::of(&context);
            let Some(route) = mediator.node.handlers.route::<E>() else { return Err(unregistered::<E>()) };
            mediator.node.check_size(E::NAME, payload.len())?;
            route.sent.add(1);
            let mut envelope = Envelope::new(route.name.clone(), E::KIND, &mediator.node.id, payload);
            envelope.id = id;
            envelope.correlation = context.correlation();
            envelope.causation = Some(context.id());
            envelope.headers.follow(context.headers());
            envelope.repeat = context.attempt() > 1 || context.metadata().repeat;
            if E::QOS == Qos::AtLeastOnce {
                let timeout = mediator.node.limits.send_deadline;
                return mediator.store::<E>(envelope, timeout, || Occurrence::Emitted).await;
            }
            let metadata = OnceLock::from(Metadata::of(&envelope, None));
            if !mediator.node.private
                && let Some(leaving) = mediator.hand_over::<E>(envelope)
            {
                leaving.await;
            }
            std::future::poll_fn(|cx| {
                mediator.handle_here(&self.0, &metadata, cx, || Occurrence::Emitted);
                Poll::Ready(())
            })
            .await;
            Ok(())
        })
    }
}
