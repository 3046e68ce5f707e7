//! What nodes ask of the broker, and what it brings them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    envelope::{Envelope, Reply},
    error::Error,
    id::MessageId,
    transport::{Backlog, Consumer, DeadLetter, Inbox, Registration, Settlement},
};

pub(super) type Done<T> = oneshot::Sender<T>;
/// What a node that has joined receives from.
pub(super) type Receives = (Inbox, Vec<Box<dyn Consumer>>);

/// Who sends: application, node and incarnation.
#[derive(Clone, Debug)]
pub(super) struct From {
    pub(super) app: Arc<str>,
    pub(super) node: Arc<str>,
    pub(super) incarnation: u64,
}

/// What nodes ask of the broker.
pub(super) enum Command {
    Join {
        node: Registration,
        done: Done<Result<Receives, Error>>,
    },
    Leave {
        from: From,
        for_good: bool,
        done: Done<()>,
    },
    Publish {
        from: From,
        name: Arc<str>,
        frame: Bytes,
    },
    Store {
        from: From,
        name: Arc<str>,
        frame: Bytes,
        identity: u128,
        done: Done<Result<(), Error>>,
    },
    StoreFor {
        from: From,
        durable: Arc<str>,
        frame: Bytes,
        identity: u128,
        delay: Duration,
        done: Done<Result<(), Error>>,
    },
    Request {
        from: From,
        to: Arc<str>,
        frame: Bytes,
    },
    Reply {
        from: From,
        to: Arc<str>,
        frame: Bytes,
    },
    Announce {
        from: From,
        announcement: Bytes,
    },
    Pull {
        from: From,
        durable: Arc<str>,
        credit: usize,
    },
    Unsubscribe {
        from: From,
        durable: Arc<str>,
        done: Done<()>,
    },
    Settle {
        from: From,
        durable: Arc<str>,
        sequence: u64,
        deliveries: u32,
        settlement: Settlement,
    },
    Bury {
        from: From,
        letter: Box<DeadLetter>,
        done: Done<()>,
    },
    DeadLetters {
        app: Arc<str>,
        after: Option<MessageId>,
        limit: usize,
        done: Done<Vec<DeadLetter>>,
    },
    DeadLetter {
        app: Arc<str>,
        id: MessageId,
        done: Done<Option<DeadLetter>>,
    },
    DeleteDeadLetter {
        app: Arc<str>,
        id: MessageId,
        done: Done<bool>,
    },
    Backlog {
        from: From,
        done: Done<Backlog>,
    },
    /// Something that a fault held back, now on its way.
    Late(Parcel),
    #[cfg(feature = "testing")]
    Inject(super::faults::Rule),
    #[cfg(feature = "testing")]
    Heal,
    #[cfg(feature = "testing")]
    Pending(Done<Pending>),
}

/// What waits in the broker.
#[cfg(feature = "testing")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Reliable events that a connected durable has not settled, those included that wait for their next attempt.
    pub(crate) owed: usize,
    /// Messages in the queues towards nodes.
    pub(crate) queued: usize,
}

/// Something on its way to a node's inbox.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) app: Arc<str>,
    pub(super) to: Arc<str>,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Events(Vec<Envelope>),
    Request(Envelope),
    Reply(Reply),
    Announcement(Bytes),
}

pub(super) fn parcel(app: &Arc<str>, to: &Arc<str>, content: Content) -> Parcel {
    Parcel { app: app.clone(), to: to.clone(), content }
}

impl Parcel {
    /// A second copy.
    pub(super) fn twin(&self) -> Self {
        let content = match &self.content {
            Content::Events(envelopes) => Content::Events(envelopes.clone()),
            Content::Request(envelope) => Content::Request(envelope.clone()),
            Content::Announcement(announcement) => Content::Announcement(announcement.clone()),
            Content::Reply(Reply { token, result }) => {
                Content::Reply(Reply::new(*token, result.as_ref().cloned().map_err(Error::duplicate)))
            }
        };
        Self { app: self.app.clone(), to: self.to.clone(), content }
    }
}
