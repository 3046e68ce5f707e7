//! An event on its way: to the handlers of this node in place, to other nodes, or into the store.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context as TaskContext, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};

use crate::{
    codec,
    context::{Context, Emission, Metadata},
    delivery::{events, limits::LONGEST, node::Node, observe::Occurrence, table::Route},
    envelope::{Envelope, Headers},
    error::Error,
    id::MessageId,
    mediator::{Mediator, killed, recode, unregistered},
    message::{Event, Qos},
};

/// How many events `publish_all` hands over before it waits for the store.
const PUBLISH_WINDOW: usize = 256;

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
    /// Waits for room on the way to other nodes; then it is the turn of this one's handlers.
    Leaving(BoxFuture<'static, ()>, E, OnceLock<Metadata>),
    /// Waits for room on the way to the store.
    Entering(BoxFuture<'static, Result<Stored, Error>>),
    Storing(Stored),
    Done,
}

/// Waits until the store has confirmed.
type Stored = BoxFuture<'static, Result<(), Error>>;

/// Nothing in it is pinned but what is boxed.
impl<E> Unpin for Publishing<E> {}

impl<E: Event> Publishing<E> {
    pub(crate) fn new(mediator: Mediator, event: E, options: PublishOptions, parent: Option<Context>) -> Self {
        Self { mediator, state: State::New(event, options, parent), step: Self::step }
    }

    fn step(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Error>> {
        loop {
            match &mut self.state {
                State::New(..) => {
                    if let Some(result) = self.begin(cx) {
                        return Poll::Ready(result);
                    }
                }
                State::Leaving(leaving, event, metadata) => {
                    ready!(leaving.poll_unpin(cx));
                    self.mediator.handle_here(event, metadata, cx, || Occurrence::Sent);
                    self.state = State::Done;
                    return Poll::Ready(Ok(()));
                }
                State::Entering(entering) => self.state = State::Storing(ready!(entering.poll_unpin(cx))?),
                State::Storing(storing) => {
                    let stored = ready!(storing.poll_unpin(cx));
                    self.state = State::Done;
                    return Poll::Ready(stored);
                }
                // Polled again after its end.
                State::Done => return Poll::Pending,
            }
        }
    }

    /// Waits until it has been handed over; says whether the store is still to confirm it.
    fn poll_handed_over(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<bool, Error>> {
        if let State::New(..) = self.state
            && let Some(result) = self.begin(cx)
        {
            return Poll::Ready(result.map(|()| false));
        }
        if !matches!(self.state, State::Storing(_))
            && let Poll::Ready(result) = self.step(cx)
        {
            return Poll::Ready(result.map(|()| false));
        }
        match self.state {
            State::Storing(_) => Poll::Ready(Ok(true)),
            _ => Poll::Pending,
        }
    }

    /// Starts; nearly always there is room on the way, and an event of QoS 0 is done with at once.
    fn begin(&mut self, cx: &mut TaskContext<'_>) -> Option<Result<(), Error>> {
        let State::New(event, options, parent) = std::mem::replace(&mut self.state, State::Done) else { return None };
        match self.hand_over(event, options, parent.as_ref(), cx) {
            Ok(Some(state)) => {
                self.state = state;
                None
            }
            Ok(None) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        }
    }

    fn hand_over(
        &self,
        event: E,
        options: PublishOptions,
        parent: Option<&Context>,
        cx: &mut TaskContext<'_>,
    ) -> Result<Option<State<E>>, Error> {
        let mediator = &self.mediator;
        mediator.check_open()?;
        let Some(route) = mediator.node.handlers.route::<E>() else { return Err(unregistered::<E>()) };
        route.sent.add(1);
        let timeout = options.timeout.unwrap_or(mediator.node.limits.send_deadline).min(LONGEST);
        if E::QOS == Qos::AtLeastOnce {
            let envelope = self.envelope(route, &event, options, parent)?;
            return Ok(Some(match mediator.store(route, envelope, timeout, || Occurrence::Sent) {
                Ok(storing) => State::Storing(storing),
                Err(entering) => State::Entering(entering),
            }));
        }
        let metadata = OnceLock::new();
        let others = !mediator.node.private;
        if others || options.id.is_some() || !options.headers.is_empty() || parent.is_some() {
            let envelope = self.envelope(route, &event, options, parent)?;
            if !route.events.is_empty() || mediator.node.observer.is_some() {
                // The cell is empty: setting it cannot fail.
                drop(metadata.set(Metadata::of(&envelope, None)));
            }
            if others && let Some(leaving) = mediator.hand_over::<E>(route, envelope) {
                return Ok(Some(State::Leaving(leaving, event, metadata)));
            }
        }
        mediator.handle_here(&event, &metadata, cx, || Occurrence::Sent);
        Ok(None)
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
    fn hand_over<E: Event>(&self, route: &Route, envelope: Envelope) -> Option<BoxFuture<'static, ()>> {
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

    /// Hands a reliable event to its lane, and gives what waits for the store; or, if there is no room, what waits for that
    /// before.
    fn store(
        &self,
        route: &Route,
        envelope: Envelope,
        timeout: Duration,
        how: impl FnOnce() -> Occurrence,
    ) -> Result<Stored, BoxFuture<'static, Result<Stored, Error>>> {
        if route.events.is_empty() {
            self.node.mention_unhandled(route);
        }
        self.node.observe(route.message.name, envelope.id, how);
        let lane = self.node.lane(route);
        match lane.try_store(envelope, timeout) {
            Ok(confirmation) => Ok(unless_killed(self.node.clone(), confirmation.wait())),
            Err(envelope) => {
                let (lane, node) = (lane.clone(), self.node.clone());
                Err(unless_killed(self.node.clone(), async move {
                    let confirmation = lane.store(*envelope, timeout).await?;
                    Ok(unless_killed(node, confirmation.wait()))
                }))
            }
        }
    }

    /// Publishes events one after the other, and waits for the store while further ones are handed over.
    pub(crate) async fn publish_in_order<E: Event>(
        self,
        mut events: impl Iterator<Item = E> + Send,
    ) -> Result<usize, Error> {
        let (mut stored, mut under_way) = (0, VecDeque::new());
        let mut end = None;
        loop {
            // Many at a time, so that they share frames.
            if under_way.len() <= PUBLISH_WINDOW / 2 {
                while end.is_none() && under_way.len() < PUBLISH_WINDOW {
                    let Some(event) = events.next() else {
                        end = Some(Ok(()));
                        break;
                    };
                    let mut publishing = self.publish(event);
                    match std::future::poll_fn(|cx| publishing.poll_handed_over(cx)).await {
                        Ok(true) => under_way.push_back(publishing),
                        Ok(false) => stored += 1,
                        Err(error) => end = Some(Err(error)),
                    }
                }
            }
            let result = match under_way.pop_front() {
                Some(publishing) => publishing.await,
                None => break,
            };
            if let Err(error) = result {
                // Nothing is under way any more when this returns.
                for publishing in under_way {
                    drop(publishing.await);
                }
                return Err(error.with_stored(stored));
            }
            stored += 1;
        }
        match end {
            Some(Err(error)) => Err(error.with_stored(stored)),
            _ => Ok(stored),
        }
    }
}

/// A future that ends with its node, if tests can kill that.
fn unless_killed<R: Send + 'static>(
    node: Arc<Node>,
    work: impl Future<Output = Result<R, Error>> + Send + 'static,
) -> BoxFuture<'static, Result<R, Error>> {
    Box::pin(async move {
        tokio::select! {
            biased;
            result = work => result,
            () = node.tasks.until_killed() => Err(killed()),
        }
    })
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
                let storing = match mediator.store(route, envelope, timeout, || Occurrence::Emitted) {
                    Ok(storing) => storing,
                    Err(entering) => entering.await?,
                };
                return storing.await;
            }
            let metadata = OnceLock::from(Metadata::of(&envelope, None));
            if !mediator.node.private
                && let Some(leaving) = mediator.hand_over::<E>(route, envelope)
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
