//! The queues in which a node receives.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::sync::mpsc;

use crate::{
    envelope::{Envelope, Reply},
    frame::MAX_MESSAGES,
};

/// The queues in which a node receives, apart so that none waits behind another. The transport drops what does not fit,
/// and says so: a request is answered `Overloaded`, events of QoS 0 and replies go through [`InboxSenders::events`] and
/// [`InboxSenders::reply`], which count them.
#[non_exhaustive]
pub struct Inbox {
    /// Events of QoS 0 from other nodes.
    pub events: EventQueue,
    /// Requests to this node.
    pub requests: mpsc::Receiver<Envelope>,
    /// Probes of this node: requests whose [`probe`](crate::transport::RequestPart::probe) is set. They are answered at once, however busy
    /// the node is.
    pub probes: mpsc::Receiver<Envelope>,
    /// Replies to this node's requests, those together that came together. A request that reached nobody is answered with an
    /// error that says `NotStarted`. It ends when the node has left, or lost its place. A transport may give a stream of its
    /// own instead of the queue's: what wakes the node at once saves it a task on the way.
    pub replies: BoxStream<'static, Vec<Reply>>,
    /// What nodes announce about themselves.
    pub cluster: mpsc::Receiver<Bytes>,
    /// How many replies found no room, and the node has not counted yet.
    pub(crate) lost_replies: Arc<AtomicU64>,
}

/// Events of QoS 0 that wait for a node, those together that came together.
#[derive(Debug)]
pub struct EventQueue {
    batches: mpsc::Receiver<Vec<Envelope>>,
    counts: Arc<EventCounts>,
}

#[derive(Debug)]
struct EventCounts {
    waiting: AtomicUsize,
    /// The most that may wait.
    limit: usize,
    /// How many found no room, and the node has not counted yet.
    dropped: AtomicU64,
}

impl EventQueue {
    /// The next events; none when there is nobody left who could send any. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Vec<Envelope>> {
        self.batches.recv().await.inspect(|batch| self.counts.took(batch))
    }

    /// The next events, if there are any now.
    pub fn try_next(&mut self) -> Option<Vec<Envelope>> {
        self.batches.try_recv().ok().inspect(|batch| self.counts.took(batch))
    }

    /// Takes nothing more in; gives what waits.
    pub(crate) fn close(&mut self) -> impl Iterator<Item = Envelope> {
        self.batches.close();
        std::iter::from_fn(|| self.try_next()).flatten()
    }

    /// How many found no room since this was asked last.
    pub(crate) fn dropped(&self) -> u64 {
        self.counts.dropped.swap(0, Ordering::Relaxed)
    }
}

impl EventCounts {
    /// Counts as many of these in as find room.
    fn make_room(&self, events: usize) -> usize {
        let fits = |waiting: usize| events.min(self.limit.saturating_sub(waiting));
        let counted =
            self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| Some(waiting + fits(waiting)));
        counted.map_or(0, fits)
    }

    fn took(&self, batch: &[Envelope]) {
        self.waiting.fetch_sub(batch.len(), Ordering::AcqRel);
    }
}

/// The sending ends of an [`Inbox`], for the transport.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InboxSenders {
    events: mpsc::Sender<Vec<Envelope>>,
    event_counts: Arc<EventCounts>,
    /// Requests.
    pub requests: mpsc::Sender<Envelope>,
    /// Probes.
    pub probes: mpsc::Sender<Envelope>,
    /// Replies.
    pub replies: mpsc::Sender<Reply>,
    /// Announcements.
    pub cluster: mpsc::Sender<Bytes>,
    lost_replies: Arc<AtomicU64>,
}

impl Inbox {
    /// An inbox whose queues hold this many messages each.
    pub fn new(queue: usize) -> (InboxSenders, Self) {
        let queue = queue.max(1);
        // None of its batches is empty: so many find room.
        let (events_in, batches) = mpsc::channel(queue);
        let event_counts =
            Arc::new(EventCounts { waiting: AtomicUsize::new(0), limit: queue, dropped: AtomicU64::new(0) });
        let events = EventQueue { batches, counts: event_counts.clone() };
        let (requests_in, requests) = mpsc::channel(queue);
        let (probes_in, probes) = mpsc::channel(queue);
        let (replies_in, mut replies) = mpsc::channel(queue);
        let replies = stream::poll_fn(move |cx| {
            let mut batch = Vec::new();
            replies.poll_recv_many(cx, &mut batch, MAX_MESSAGES).map(|count| (count > 0).then_some(batch))
        });
        let (cluster_in, cluster) = mpsc::channel(queue);
        let senders = InboxSenders {
            events: events_in,
            event_counts,
            requests: requests_in,
            probes: probes_in,
            replies: replies_in,
            cluster: cluster_in,
            lost_replies: Arc::default(),
        };
        let lost_replies = senders.lost_replies.clone();
        (senders, Self { events, requests, probes, replies: replies.boxed(), cluster, lost_replies })
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl InboxSenders {
    /// Whether the node behind it is gone: it takes nothing out of any queue any more.
    pub fn is_closed(&self) -> bool {
        self.events.is_closed()
            && self.requests.is_closed()
            && self.probes.is_closed()
            && self.replies.is_closed()
            && self.cluster.is_closed()
    }

    /// Hands the node events of QoS 0 that came together; those that find no room are dropped, and the node counts them.
    pub fn events(&self, mut events: Vec<Envelope>) {
        let counts = &*self.event_counts;
        let room = counts.make_room(events.len());
        let dropped = events.len() - room;
        events.truncate(room);
        if room > 0 {
            // A queue that is gone belongs to no node that could count; else there is room for as many batches as events.
            if let Err(error) = self.events.try_send(events) {
                counts.took(&error.into_inner());
            }
        }
        if dropped > 0 {
            counts.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
        }
    }

    /// Whether the node takes no events any more.
    #[cfg(feature = "testing")]
    pub(crate) fn takes_no_events(&self) -> bool {
        self.events.is_closed()
    }

    /// How many messages wait in its queues.
    #[cfg(feature = "testing")]
    pub(crate) fn waiting(&self) -> usize {
        let used = |capacity: usize, most: usize| most - capacity;
        self.event_counts.waiting.load(Ordering::Acquire)
            + used(self.requests.capacity(), self.requests.max_capacity())
            + used(self.replies.capacity(), self.replies.max_capacity())
    }

    /// Hands the node a reply, unless the [`Inbox`] was given replies of its own; one that finds no room is dropped, and the
    /// node counts it. Its caller asks again.
    pub fn reply(&self, reply: Reply) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.replies.try_send(reply) {
            self.lost_replies.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The queue that a request belongs into.
    pub fn queue_of(&self, request: &Envelope) -> &mpsc::Sender<Envelope> {
        match &request.request {
            Some(part) if part.probe => &self.probes,
            _ => &self.requests,
        }
    }
}
