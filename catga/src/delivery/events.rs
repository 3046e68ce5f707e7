//! Events of QoS 0: to this node's own handlers in place, and from other nodes as they arrive.

use std::{
    any::Any,
    cell::Cell,
    sync::{Arc, OnceLock},
    task::{Context as TaskContext, Poll},
};

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::{
    node::Node,
    observe::Occurrence,
    round::{Recovery, Round},
    table::{Decoded, HandlerEntry, Route},
};
use crate::{
    context::{Metadata, Run, Source},
    envelope::Envelope,
    handler::{Given, Unpacked, begun},
    middleware::{
        gate::{Entry, Permit, Turn},
        run::{RunError, Started, finish_with_retries, start},
    },
    transport::EventQueue,
};

thread_local! {
    /// Whether a handler is being polled in place on this thread: what it publishes is queued, so that two events that
    /// publish each other do not recurse.
    static IN_PLACE: Cell<bool> = const { Cell::new(false) };
}

/// Polls a run once, marked as in place.
fn poll_in_place(started: &mut Started<()>, cx: &mut TaskContext<'_>) -> Poll<Result<(), RunError>> {
    let before = IN_PLACE.replace(true);
    // A panic of the handler is caught further in: the mark is always taken back.
    let poll = started.poll_first(cx);
    IN_PLACE.set(before);
    poll
}

/// Gives an event of QoS 0 to this node's own handlers. Hot: each is polled once here; only one that is not ready then
/// gets a task. The event is cloned for each handler, because a failed run is repeated.
pub(crate) fn handle_here(
    node: &Arc<Node>,
    route: &Route,
    event: &dyn Any,
    metadata: &OnceLock<Metadata>,
    cx: &mut TaskContext<'_>,
) {
    for handler in &route.events {
        let Some(typed) = handler.typed::<()>() else { continue };
        let run = || EventRun::new(node, handler, typed.keep(Given::Copied(event)), metadata);
        match handler.enter() {
            Entry::Now(pass) if !IN_PLACE.get() => {
                let mut begin = Run::new(&**node, &handler.name, Source::Lazy(metadata));
                begin.everywhere = handler.group.is_none();
                let mut started = start(begin, &handler.meter, |begin| begun(typed.start(Given::Copied(event), begin)));
                match poll_in_place(&mut started, cx) {
                    Poll::Ready(Ok(())) => handled(node, handler, metadata, 1),
                    Poll::Ready(Err(error)) => run().spawn(Some(Err(error)), Ok(pass.keep())),
                    Poll::Pending => run().spawn(Some(Ok(started)), Ok(pass.keep())),
                }
            }
            entry => run().enter(entry),
        }
    }
}

fn handled(node: &Node, handler: &HandlerEntry, metadata: &OnceLock<Metadata>, attempt: u32) {
    if node.observer.is_some() {
        let id = metadata.get_or_init(Metadata::fresh).id;
        let handled = || Occurrence::Handled { handler: handler.name.clone(), attempt };
        node.observe(handler.message.name, id, handled);
    }
}

/// An event as its handlers get it.
enum Content {
    /// For several handlers, or of this node: each run has a copy.
    Decoded(Decoded),
    /// For the only handler: each run reads it, and nothing is copied.
    Encoded(Bytes),
}

impl Content {
    fn given(&self) -> Given<'_> {
        match self {
            Self::Decoded(event) => Given::Copied(&**event),
            Self::Encoded(payload) => Given::Encoded(payload),
        }
    }
}

fn start_event(handler: &HandlerEntry, event: Given<'_>, mut run: Run<'_>) -> Started<()> {
    run.everywhere = handler.group.is_none();
    // What cannot be read will not be read the next time, either.
    start(run, &handler.meter, |run| begun(handler.erased().start_event(event, run)))
}

/// The work of one handler on one event of QoS 0 that was not done in place.
struct EventRun {
    node: Arc<Node>,
    handler: Arc<HandlerEntry>,
    content: Content,
    metadata: Metadata,
}

impl EventRun {
    fn new(node: &Arc<Node>, handler: &Arc<HandlerEntry>, event: Unpacked, metadata: &OnceLock<Metadata>) -> Self {
        Self {
            node: node.clone(),
            handler: handler.clone(),
            content: Content::Decoded(event.into()),
            metadata: metadata.get_or_init(Metadata::fresh).clone(),
        }
    }

    /// Runs when it is the event's turn, in a task; drops the event if too many wait.
    fn enter(self, entry: Entry<'_>) {
        match entry {
            Entry::Now(pass) => self.spawn(None, Ok(pass.keep())),
            Entry::Wait(turn) => self.spawn(None, Err(turn)),
            Entry::Full => self.drop_event("the queue of a handler is full"),
        }
    }

    fn drop_event(&self, reason: &str) {
        self.node.counters.drop_events(1, reason);
        self.node.observe(self.handler.message.name, self.metadata.id, || Occurrence::Dropped);
    }

    fn start(&self, attempt: u32) -> Started<()> {
        let mut run = Run::new(&*self.node, &self.handler.name, Source::Known(&self.metadata));
        run.attempt = attempt;
        start_event(&self.handler, self.content.given(), run)
    }

    /// Goes on to the end in a task, when it is the event's turn: with a run, if one has begun.
    fn spawn(self, begun: Option<Result<Started<()>, RunError>>, entered: Result<Permit, Turn>) {
        let node = self.node.clone();
        node.spawn_run(async move {
            let permit = match entered {
                Ok(permit) => permit,
                Err(turn) => match turn.await {
                    Ok(permit) => permit,
                    // A gate that closes lets go of events of QoS 0.
                    Err(_) => return self.drop_event("the node shut down"),
                },
            };
            let mut run = begun.unwrap_or_else(|| Ok(self.start(1)));
            let (policy, limit) = (&self.handler.retry, self.handler.timeout);
            let again = |attempt| {
                self.node.counters.retries(1);
                self.start(attempt)
            };
            let repeats = RunError::repeats_event;
            let (result, attempts) = finish_with_retries(&mut run, policy, limit, None, repeats, again).await;
            drop(permit);
            self.end(result, attempts);
        });
    }

    fn end(&self, result: Result<(), RunError>, attempts: u32) {
        let (name, id, handler) = (self.handler.message.name, self.metadata.id, &self.handler.name);
        match result {
            Ok(()) => {
                self.node.observe(name, id, || Occurrence::Handled { handler: handler.clone(), attempt: attempts })
            }
            Err(error) => {
                self.node.counters.failed(1);
                tracing::warn!(
                    target: "catga::delivery", %handler, message_type = name, %id, attempts, failure = %error.failure,
                    "a handler gave up an event of QoS 0"
                );
                self.node.observe(name, id, || Occurrence::Failed {
                    handler: handler.clone(),
                    attempt: attempts,
                    failure: error.failure.clone(),
                });
            }
        }
    }
}

/// The most senders whose sequences are watched; beyond, the table starts again.
const MAX_SEQUENCES: usize = 100_000;

/// Whose numbers are counted: a node and one of its event types.
type Sender = (Arc<str>, Arc<str>);

/// About how many events are taken in a round.
const ROUND: usize = 64;

/// The task that takes events of QoS 0 from other nodes.
pub(crate) struct EventIntake {
    node: Arc<Node>,
    events: EventQueue,
    /// The last incarnation and number seen of each sender and event type.
    sequences: FxHashMap<Sender, (u64, u64)>,
    /// The entry of the latest event, which is put back when another sender or type comes.
    latest: Option<(Sender, (u64, u64))>,
    recovery: Recovery,
}

impl EventIntake {
    pub(crate) fn new(node: Arc<Node>, events: EventQueue) -> Self {
        Self { node, events, sequences: FxHashMap::default(), latest: None, recovery: Recovery::default() }
    }

    /// Takes events until the node stops; what waits then is dropped.
    pub(crate) async fn run(mut self) {
        let stop = self.node.stop.clone();
        let mut batches = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.drop_the_rest(),
                events = self.events.next() => match events {
                    Some(events) => batches.push(events),
                    None => return,
                },
            }
            // What waits already is of the same round; what comes while it lasts is not.
            let mut taken = batches.iter().map(Vec::len).sum::<usize>();
            while taken < ROUND
                && let Some(events) = self.events.try_next()
            {
                taken += events.len();
                batches.push(events);
            }
            let round = Round::start();
            for events in batches.drain(..) {
                self.take_all(&events, round);
            }
            self.count_dropped();
            self.recovery.end(round).await;
        }
    }

    /// A queue that was full is read again afterwards: whatever found no room is counted in the end.
    fn count_dropped(&self) {
        let dropped = self.events.dropped();
        if dropped > 0 {
            self.node.counters.drop_events(dropped, "the queue towards this node is full");
        }
    }

    fn drop_the_rest(mut self) {
        for envelope in self.events.close() {
            self.node.counters.drop_events(1, "the node shut down");
            self.node.observe(&envelope.name, envelope.id, || Occurrence::Dropped);
        }
        self.count_dropped();
    }

    fn take_all(&mut self, events: &[Envelope], round: Round) {
        // Those that came together are mostly of one type, and have one name.
        let mut latest = None;
        for envelope in events {
            let index = match latest {
                Some((name, index)) if Arc::ptr_eq(name, &envelope.name) => index,
                _ => self.node.handlers.index_of(&envelope.name),
            };
            latest = Some((&envelope.name, index));
            self.take(envelope, index, round);
        }
    }

    fn take(&mut self, envelope: &Envelope, index: Option<usize>, round: Round) {
        self.watch_sequence(envelope);
        let Some(route) = index.and_then(|index| self.node.handlers.route(index)) else { return };
        let decoded = match &route.events[..] {
            [] => return,
            [_] => None,
            [first, ..] => match first.erased().decode(&envelope.payload) {
                Ok(message) => Some(Decoded::from(message)),
                Err(error) => {
                    self.node.counters.failed(1);
                    tracing::warn!(target: "catga::delivery", %error, source = %envelope.source, "an event could not be read");
                    return;
                }
            },
        };
        for handler in &route.events {
            let run = || EventRun {
                node: self.node.clone(),
                handler: handler.clone(),
                content: match &decoded {
                    Some(event) => Content::Decoded(event.clone()),
                    None => Content::Encoded(envelope.payload.clone()),
                },
                metadata: Metadata::of(envelope, None),
            };
            match handler.enter() {
                Entry::Now(pass) if round.is_quick() => {
                    let source = Source::event(envelope, envelope.repeat);
                    let given = match &decoded {
                        Some(event) => Given::Copied(&**event),
                        None => Given::Encoded(&envelope.payload),
                    };
                    let mut started = start_event(handler, given, Run::new(&*self.node, &handler.name, source));
                    match started.first() {
                        Poll::Ready(Ok(())) => {
                            let handled = || Occurrence::Handled { handler: handler.name.clone(), attempt: 1 };
                            self.node.observe(&envelope.name, envelope.id, handled);
                        }
                        Poll::Ready(Err(error)) => run().spawn(Some(Err(error)), Ok(pass.keep())),
                        Poll::Pending => run().spawn(Some(Ok(started)), Ok(pass.keep())),
                    }
                }
                entry => {
                    if !matches!(entry, Entry::Now(_)) {
                        self.recovery.note(&handler.gate);
                    }
                    run().enter(entry);
                }
            }
        }
    }

    /// Counts what a sender sent and this node did not get.
    fn watch_sequence(&mut self, envelope: &Envelope) {
        if envelope.sequence == 0 {
            return;
        }
        let now = (envelope.incarnation, envelope.sequence);
        // Most come from the same sender as the one before: nothing is looked up for them.
        let same = |(source, name): &Sender| **source == *envelope.source && **name == *envelope.name;
        if !self.latest.as_ref().is_some_and(|(key, _)| same(key)) {
            if self.sequences.len() >= MAX_SEQUENCES {
                self.sequences.clear();
            }
            let key = (envelope.source.clone(), envelope.name.clone());
            let last = self.sequences.get(&key).copied().unwrap_or(now);
            self.sequences.extend(self.latest.replace((key, last)));
        }
        let missed = self.latest.as_mut().map_or(0, |(_, last)| missed(last, now));
        if missed > 0 {
            self.node.counters.gaps(missed);
        }
    }
}

/// How many events are missing between the last of a sender and this one, each an incarnation and a number.
fn missed(last: &mut (u64, u64), now: (u64, u64)) -> u64 {
    // A sender that started again counts from 1. If its clock was set back, its incarnation is smaller; a larger number would
    // be that of a late word.
    let again = now.0 > last.0 || (now.0 < last.0 && now.1 == 1);
    if !again && now <= *last {
        // The first of all, or one that was overtaken or doubled on the way.
        return 0;
    }
    let before = if again { 0 } else { last.1 };
    *last = now;
    now.1 - before - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_seen_of_a_sender_that_starts_again_with_its_clock_set_back() {
        let mut last = (1_000, 7);
        assert_eq!(missed(&mut last, (1_000, 10)), 2);
        assert_eq!(missed(&mut last, (1_000, 9)), 0, "it was overtaken");
        assert_eq!(missed(&mut last, (2_000, 3)), 2);
        assert_eq!(missed(&mut last, (1_000, 11)), 0, "a late word");
        assert_eq!(missed(&mut last, (500, 1)), 0);
        assert_eq!(missed(&mut last, (500, 4)), 2);
    }
}
