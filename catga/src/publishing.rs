//! An event on its way: to the handlers of this node in place, to other nodes, or into the store.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::OnceLock,
    task::{Context as TaskContext, Poll, ready},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};

use crate::{
    context::{Context, Metadata},
    delivery::{events, limits::LONGEST, observe::Occurrence, reliable::Confirmation, table::Route},
    envelope::{Envelope, Headers},
    error::Error,
    id::MessageId,
    mediator::{Mediator, unregistered},
    message::{AnyMessage, Event, Qos},
};

/// How many events `publish_all` hands over before it waits for the store.
const PUBLISH_WINDOW: usize = 1_024;

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
    /// Until it has been handled here, or a copy is on its way.
    event: Option<E>,
    state: State,
    /// The work for this type of event. A pointer, so that the future asks nothing of `E`: a call with something that is
    /// no event is then one mistake and not three.
    step: fn(&mut Self, &mut TaskContext<'_>) -> Poll<Result<(), Error>>,
}

enum State {
    /// With the context of the handler that publishes it, if one does.
    New(PublishOptions, Option<Context>),
    /// Waits for room on the way to other nodes; then it is the turn of this one's handlers.
    Leaving(BoxFuture<'static, ()>, OnceLock<Metadata>),
    /// Waits for room on the way to the store.
    Entering(BoxFuture<'static, Result<Confirmation, Error>>),
    Storing(Confirmation),
    Done,
}

/// Nothing in it is pinned but what is boxed.
impl<E> Unpin for Publishing<E> {}

impl<E: Event> Publishing<E> {
    pub(crate) fn new(mediator: Mediator, event: E, options: PublishOptions, parent: Option<Context>) -> Self {
        Self { mediator, event: Some(event), state: State::New(options, parent), step: Self::step }
    }

    fn step(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Error>> {
        let poll = self.state.poll(&self.mediator, &self.event, cx);
        if matches!(self.state, State::Entering(_) | State::Storing(_)) {
            self.event = None;
        }
        poll
    }

    /// Waits until it has been handed over; says whether the store is still to confirm it.
    fn poll_handed_over(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<bool, Error>> {
        let poll = self.state.poll_handed_over(&self.mediator, &self.event, cx);
        if poll.is_ready() {
            self.event = None;
        }
        poll
    }
}

impl State {
    fn poll(
        &mut self,
        mediator: &Mediator,
        event: &dyn AnyMessage,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<(), Error>> {
        loop {
            match self {
                Self::New(..) => {
                    if self.begin(mediator, event, cx, true)? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Self::Leaving(leaving, metadata) => {
                    ready!(leaving.poll_unpin(cx));
                    if let Some(route) = mediator.node.handlers.route(event.index()) {
                        mediator.handle_here(route, event, metadata, cx, || Occurrence::Sent);
                    }
                    *self = Self::Done;
                    return Poll::Ready(Ok(()));
                }
                Self::Entering(entering) => *self = Self::Storing(ready!(entering.poll_unpin(cx))?),
                Self::Storing(storing) => {
                    let stored = ready!(storing.poll_unpin(cx));
                    *self = Self::Done;
                    return Poll::Ready(stored);
                }
                // Polled again after its end.
                Self::Done => return Poll::Pending,
            }
        }
    }

    fn poll_handed_over(
        &mut self,
        mediator: &Mediator,
        event: &dyn AnyMessage,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<bool, Error>> {
        // Nobody polls it soon: it must not be overtaken by the next one.
        if let Self::New(..) = self
            && self.begin(mediator, event, cx, false)?
        {
            return Poll::Ready(Ok(false));
        }
        if !matches!(self, Self::Storing(_))
            && let Poll::Ready(result) = self.poll(mediator, event, cx)
        {
            return Poll::Ready(result.map(|()| false));
        }
        match self {
            Self::Storing(_) => Poll::Ready(Ok(true)),
            _ => Poll::Pending,
        }
    }

    /// Starts, and says whether that was all: nearly always there is room on the way, and an event of QoS 0 is done with at once.
    /// `alone` says that the caller polls on at once, so that it may store by itself.
    #[inline]
    fn begin(
        &mut self,
        mediator: &Mediator,
        event: &dyn AnyMessage,
        cx: &mut TaskContext<'_>,
        alone: bool,
    ) -> Result<bool, Error> {
        let Self::New(options, parent) = std::mem::replace(self, Self::Done) else { return Ok(false) };
        let Some(going) = mediator.begin_to_publish(event, options, parent.as_ref(), cx, alone)? else {
            return Ok(true);
        };
        *self = going;
        Ok(false)
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
    fn begin_to_publish(
        &self,
        event: &dyn AnyMessage,
        options: PublishOptions,
        parent: Option<&Context>,
        cx: &mut TaskContext<'_>,
        alone: bool,
    ) -> Result<Option<State>, Error> {
        self.check_open()?;
        let Some(route) = self.node.handlers.route(event.index()) else { return Err(unregistered(event.name())) };
        route.sent.add(1);
        let timeout = options.timeout.unwrap_or(self.node.limits.send_deadline).min(LONGEST);
        if route.message.qos == Qos::AtLeastOnce {
            let envelope = self.envelope_of_event(route, event, options, parent)?;
            return Ok(Some(match self.store(route, envelope, timeout, alone, || Occurrence::Sent) {
                Ok(storing) => State::Storing(storing),
                Err(entering) => State::Entering(entering),
            }));
        }
        let metadata = OnceLock::new();
        let others = !self.node.private;
        if others || options.id.is_some() || !options.headers.is_empty() || parent.is_some() {
            let envelope = self.envelope_of_event(route, event, options, parent)?;
            if !route.events.is_empty() || self.node.observer.is_some() {
                // The cell is empty: setting it cannot fail.
                drop(metadata.set(Metadata::of(&envelope, None)));
            }
            if others && let Some(leaving) = self.hand_over(route, event.index(), envelope) {
                return Ok(Some(State::Leaving(leaving, metadata)));
            }
        }
        self.handle_here(route, event, &metadata, cx, || Occurrence::Sent);
        Ok(None)
    }

    fn envelope_of_event(
        &self,
        route: &Route,
        event: &dyn AnyMessage,
        options: PublishOptions,
        parent: Option<&Context>,
    ) -> Result<Envelope, Error> {
        let mut envelope = self.envelope(route, event, parent, options.headers)?;
        if let Some(id) = options.id {
            (envelope.id, envelope.repeat) = (id, true);
            if parent.is_none() {
                envelope.correlation = id;
            }
        }
        Ok(envelope)
    }

    /// Hands an event of QoS 0 to the other nodes; gives a future if it has to wait for room. What finds none is counted.
    pub(crate) fn hand_over(&self, route: &Route, index: usize, envelope: Envelope) -> Option<BoxFuture<'static, ()>> {
        let envelope = self.node.lane(route).try_hand_over(envelope).err()?;
        let node = self.node.clone();
        Some(Box::pin(async move {
            let Some(route) = node.handlers.route(index) else { return };
            let id = envelope.id;
            if let Err(error) = node.lane(route).hand_over(*envelope, node.limits.publish_timeout).await {
                node.counters.drop_events(1, "the lane is full");
                node.observe(route.message.name, id, || Occurrence::Dropped);
                tracing::debug!(target: "catga::delivery", %error, "an event of QoS 0 was dropped");
            }
        }))
    }

    /// Gives an event of QoS 0 to the handlers of this node.
    #[inline]
    pub(crate) fn handle_here(
        &self,
        route: &Route,
        event: &dyn AnyMessage,
        metadata: &OnceLock<Metadata>,
        cx: &mut TaskContext<'_>,
        how: fn() -> Occurrence,
    ) {
        if route.events.is_empty() {
            self.node.mention_unhandled(route);
        }
        match self.node.observer {
            None => events::handle_here(&self.node, route, event, metadata, cx),
            Some(_) => self.handle_observed(route, event, metadata, cx, how),
        }
    }

    /// Under a test, as if it had come from another node.
    #[cold]
    fn handle_observed(
        &self,
        route: &Route,
        event: &dyn AnyMessage,
        metadata: &OnceLock<Metadata>,
        cx: &mut TaskContext<'_>,
        how: fn() -> Occurrence,
    ) {
        self.node.observe(event.name(), metadata.get_or_init(Metadata::fresh).id, how);
        let Some(first) = route.events.first() else { return };
        match event.encode().and_then(|payload| first.erased().decode(&payload)) {
            Ok(event) => events::handle_here(&self.node, route, &*event, metadata, cx),
            Err(error) => tracing::error!(target: "catga", %error, "an event does not survive its encoding"),
        }
    }

    /// Hands a reliable event to its lane, and gives what waits for the store; or, if there is no room, what waits for that
    /// before.
    pub(crate) fn store(
        &self,
        route: &Route,
        envelope: Envelope,
        timeout: Duration,
        alone: bool,
        how: fn() -> Occurrence,
    ) -> Result<Confirmation, BoxFuture<'static, Result<Confirmation, Error>>> {
        if route.events.is_empty() {
            self.node.mention_unhandled(route);
        }
        self.node.observe(route.message.name, envelope.id, how);
        let lane = self.node.reliable_lane(route);
        if alone && lane.take() {
            return Ok(lane.store_alone(envelope, &self.node, timeout));
        }
        lane.try_store(envelope, timeout).map_err(|envelope| {
            let (lane, tasks) = (lane.clone(), self.node.tasks.clone());
            let entering = async move {
                tokio::select! {
                    biased;
                    entered = lane.store(*envelope, timeout) => entered,
                    () = tasks.until_killed() => Err(Error::killed()),
                }
            };
            entering.boxed()
        })
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
