//! The queues in which a node receives.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
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
/// and says so: a request is answered `Overloaded`, events of QoS 0 and replies go through [`InboxSenders::event`] and
/// [`InboxSenders::reply`], which count them.
#[non_exhaustive]
pub struct Inbox {
    /// Events of QoS 0 from other nodes.
    pub events: mpsc::Receiver<Envelope>,
    /// Requests to this node.
    pub requests: mpsc::Receiver<Envelope>,
    /// Probes of this node: requests whose [`probe`](RequestPart::probe) is set. They are answered at once, however busy
    /// the node is.
    pub probes: mpsc::Receiver<Envelope>,
    /// Replies to this node's requests, those together that came together. A request that reached nobody is answered with an
    /// error that says `NotStarted`. It ends when the node has left, or lost its place. A transport may give a stream of its
    /// own instead of the queue's: what wakes the node at once saves it a task on the way.
    pub replies: BoxStream<'static, Vec<Reply>>,
    /// What nodes announce about themselves.
    pub cluster: mpsc::Receiver<Bytes>,
    /// What found no room.
    pub(crate) overflow: Arc<Overflow>,
}

/// How much found no room in an inbox, and the node has not counted yet.
#[derive(Debug, Default)]
pub(crate) struct Overflow {
    pub(crate) events: AtomicU64,
    pub(crate) replies: AtomicU64,
}

/// The sending ends of an [`Inbox`], for the transport.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InboxSenders {
    /// Events of QoS 0.
    pub events: mpsc::Sender<Envelope>,
    /// Requests.
    pub requests: mpsc::Sender<Envelope>,
    /// Probes.
    pub probes: mpsc::Sender<Envelope>,
    /// Replies.
    pub replies: mpsc::Sender<Reply>,
    /// Announcements.
    pub cluster: mpsc::Sender<Bytes>,
    overflow: Arc<Overflow>,
}

impl Inbox {
    /// An inbox whose queues hold this many messages each.
    pub fn new(queue: usize) -> (InboxSenders, Self) {
        let queue = queue.max(1);
        let (events_in, events) = mpsc::channel(queue);
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
            requests: requests_in,
            probes: probes_in,
            replies: replies_in,
            cluster: cluster_in,
            overflow: Arc::default(),
        };
        let overflow = senders.overflow.clone();
        (senders, Self { events, requests, probes, replies: replies.boxed(), cluster, overflow })
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

    /// Hands the node an event of QoS 0; one that finds no room is dropped, and the node counts it.
    pub fn event(&self, event: Envelope) {
        // A queue that is gone belongs to no node that could count.
        if let Err(mpsc::error::TrySendError::Full(_)) = self.events.try_send(event) {
            self.overflow.events.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Hands the node a reply; one that finds no room is dropped, and the node counts it. Its caller asks again.
    pub fn reply(&self, reply: Reply) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.replies.try_send(reply) {
            self.overflow.replies.fetch_add(1, Ordering::Relaxed);
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
