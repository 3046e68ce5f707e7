//! What a node receives over core messages, into the queues of its inbox.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use async_nats::{Message, Subject, Subscriber};
use futures_util::{Stream, StreamExt, future::Either, stream::SelectAll};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::{
    connection::Connection,
    foreign,
    names::{Names, PROBE, REQUEST},
    wire::{self, Arrived},
};
use crate::{
    envelope::{Envelope, Reply},
    error::{Error, ErrorKind},
    frame,
    id::{MessageId, is_name},
    transport::InboxSenders,
};

/// How long what is under way is waited for when a subscription ends.
const LAST_ONES: Duration = Duration::from_secs(2);
/// How long the task waits before it subscribes again.
const PAUSE: Duration = Duration::from_millis(250);

/// One subscription: a subject, and the group whose members share it.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) subject: Subject,
    pub(super) group: Option<String>,
}

/// Subscriptions that are made again when the client dies.
pub(super) struct Subscriptions {
    connection: Arc<Connection>,
    generation: u64,
    wanted: Vec<Wanted>,
    present: Present,
}

/// The subscribers that there are. One alone is in no set: a set of one wakes its task anew whenever it has nothing, and that
/// wakes another thread each time.
type Present = Either<Subscriber, SelectAll<Subscriber>>;

impl Subscriptions {
    pub(super) async fn open(connection: Arc<Connection>, wanted: Vec<Wanted>) -> Result<Self, Error> {
        let none = Either::Right(SelectAll::new());
        let mut this = Self { generation: 0, connection, wanted, present: none };
        this.subscribe().await?;
        Ok(this)
    }

    /// Takes the place of what was there only as a whole: half of it would look like the end of a client.
    async fn subscribe(&mut self) -> Result<(), Error> {
        let (generation, mut present) = (self.connection.generation(), Vec::with_capacity(self.wanted.len()));
        for Wanted { subject, group } in &self.wanted {
            present.push(self.connection.subscribe(subject, group.as_deref()).await?);
        }
        self.generation = generation;
        self.present = match present.pop() {
            Some(only) if present.is_empty() => Either::Left(only),
            last => Either::Right(present.into_iter().chain(last).collect()),
        };
        Ok(())
    }

    /// Tells the server that nothing more is wanted: what it has not sent goes to others. Gives what it had sent, one after
    /// the other, for a moment at most.
    pub(super) async fn close(mut self) -> impl Stream<Item = Message> + Unpin {
        // A client that is dead has no subscription any more.
        match &mut self.present {
            Either::Left(only) => drop(only.drain().await),
            Either::Right(all) => {
                for subscriber in all.iter_mut() {
                    drop(subscriber.drain().await);
                }
            }
        }
        self.present.take_until(Box::pin(tokio::time::sleep(LAST_ONES)))
    }

    /// The next message, if it comes before that.
    async fn next_until(&mut self, end: &mut Pin<&mut WaitForCancellationFuture<'_>>) -> Option<Message> {
        tokio::select! {
            biased;
            () = end => None,
            message = self.next() => Some(message),
        }
    }

    /// The next message. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Message {
        loop {
            if self.wanted.is_empty() {
                std::future::pending::<()>().await;
            }
            if let Some(message) = self.present.next().await {
                return message;
            }
            // All have ended: the client is dead.
            self.connection.replaced(self.generation).await;
            if let Err(error) = self.subscribe().await {
                tracing::warn!(target: "catga::nats", %error, "no subscription yet");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// What this node alone is to do: requests and probes.
pub(super) struct Post {
    pub(super) names: Names,
    pub(super) node: Arc<str>,
    pub(super) connection: Arc<Connection>,
    pub(super) inbox: InboxSenders,
}

impl Post {
    /// Receives until `closing` fires.
    pub(super) async fn run(self, mut subscriptions: Subscriptions, closing: CancellationToken) {
        let mut closed = pin!(closing.cancelled());
        while let Some(message) = subscriptions.next_until(&mut closed).await {
            self.receive(message).await;
        }
        let mut rest = subscriptions.close().await;
        while let Some(message) = rest.next().await {
            self.receive(message).await;
        }
    }

    async fn receive(&self, message: Message) {
        // An empty one only finds out what is permitted.
        let is_for_here = |what: &&str| message.subject.rsplit('.').next() == Some(*what);
        if message.payload.is_empty() || ![REQUEST, PROBE].iter().any(is_for_here) {
            return;
        }
        match frame::decode_messages(&message.payload) {
            Ok(envelopes) => {
                // Its source is where the answer goes: anything but a node's name could be a command. Those of a frame mostly
                // have the same.
                let mut good: Option<Arc<str>> = None;
                for envelope in envelopes {
                    if !good.as_ref().is_some_and(|good| Arc::ptr_eq(good, &envelope.source)) {
                        if !is_name(&envelope.source) {
                            continue;
                        }
                        good = Some(envelope.source.clone());
                    }
                    if let Some(refused) = self.take(envelope) {
                        self.refuse(refused).await;
                    }
                }
            }
            Err(error) => unreadable(&message, &error),
        }
    }

    /// Puts a request where it belongs; gives back one that finds no room, or nobody.
    fn take(&self, envelope: Envelope) -> Option<mpsc::error::TrySendError<Envelope>> {
        self.inbox.queue_of(&envelope).try_send(envelope).err()
    }

    /// Refuses a request that found no room.
    async fn refuse(&self, refused: mpsc::error::TrySendError<Envelope>) {
        let (envelope, error) = match refused {
            mpsc::error::TrySendError::Full(envelope) => {
                let text = format!("the queue of node `{}` is full", self.node);
                (envelope, Error::not_started(ErrorKind::Overloaded, text))
            }
            mpsc::error::TrySendError::Closed(envelope) => (envelope, Error::shutting_down()),
        };
        let Some(request) = &envelope.request else { return };
        let refusal = vec![Reply::new(request.token, Err(error))];
        if let Err(error) = send_replies(&self.connection, &self.names, &envelope.source, refusal).await {
            tracing::debug!(target: "catga::nats", %error, "a refusal could not be sent");
        }
    }
}

/// Sends replies to the node that asked, or to a foreign caller.
pub(super) async fn send_replies(
    connection: &Connection,
    names: &Names,
    to: &str,
    replies: Vec<Reply>,
) -> Result<(), Error> {
    if let Some(subject) = foreign::reply_subject(to) {
        for reply in &replies {
            foreign::answer(connection, subject, reply).await?;
        }
        return Ok(());
    }
    connection.publish(names.replies(to), frame::encode_replies(&replies)?).await
}

/// Requests from foreign callers, to any node.
pub(super) async fn serve_foreign(post: Post, mut subscriptions: Subscriptions, closing: CancellationToken) {
    let serve = async |message: Message| match foreign::request(&post.names, &message) {
        Ok(envelope) => {
            if let Some(refused) = post.take(envelope) {
                post.refuse(refused).await;
            }
        }
        Err(error) => unreadable(&message, &error),
    };
    while let Some(message) = closing.run_until_cancelled(subscriptions.next()).await {
        serve(message).await;
    }
    // Each of them has an answer, if only a refusal.
    let mut rest = subscriptions.close().await;
    while let Some(message) = rest.next().await {
        serve(message).await;
    }
}

/// Events of QoS 0 from other nodes and from foreign senders.
pub(super) async fn take_events(
    names: Names,
    mut subscriptions: Subscriptions,
    inbox: InboxSenders,
    closing: CancellationToken,
) {
    let mut closed = pin!(closing.cancelled());
    while let Some(message) = subscriptions.next_until(&mut closed).await {
        let Some(name) = names.type_of("event", &message.subject) else { continue };
        let arrived =
            Arrived { name, headers: message.headers.as_ref(), payload: &message.payload, id: MessageId::new() };
        match wire::read(&arrived) {
            Ok(envelopes) => inbox.events(envelopes),
            Err(error) => unreadable(&message, &error),
        }
    }
    drop(subscriptions.close().await);
}

/// What nodes say of themselves.
pub(super) async fn take_announcements(
    mut subscriptions: Subscriptions,
    cluster: mpsc::Sender<bytes::Bytes>,
    closing: CancellationToken,
) {
    while let Some(message) = closing.run_until_cancelled(subscriptions.next()).await {
        // An empty one only finds out what is permitted. One that finds no room is followed by another.
        if message.payload.is_empty() {
            continue;
        }
        let _ = cluster.try_send(message.payload);
    }
    drop(subscriptions.close().await);
}

pub(super) fn unreadable(message: &Message, error: &Error) {
    tracing::warn!(target: "catga::nats", subject = %message.subject, %error, "a message cannot be read and is left alone");
}
