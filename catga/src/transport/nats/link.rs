//! The way out of a node to the server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    cloud_event,
    connection::Connection,
    dead::DeadLetters,
    health::Health,
    idle::Idle,
    inbox::send_replies,
    names::Names,
    replies::{Sent, nobody},
    round_trip,
    store::{Parcel, Store},
    streams::Streams,
};
use crate::{
    envelope::{Envelope, Reply},
    error::{Error, ErrorKind},
    frame,
    id::{MessageId, fingerprint},
    transport::{Backlog, DeadLetter, Durable, Link},
};

/// What a message takes beside its payload, at most: names, headers and, in a dead letter, how its handler failed.
const BESIDE_THE_PAYLOAD: usize = 32 * 1024;
/// How long leaving waits for what is on its way out.
const LEAVING: Duration = Duration::from_secs(2);
/// The most dead letters whose place in the list is kept.
const PLACES: usize = 10_000;

/// The connections of a node, by what would delay what.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    /// Requests, replies, probes, announcements and calls of the API.
    pub(super) control: Arc<Connection>,
    /// Events of QoS 0.
    pub(super) events: Arc<Connection>,
    /// Reliable events on their way to the store.
    pub(super) store: Arc<Connection>,
    /// Deliveries and their settlement.
    pub(super) work: Arc<Connection>,
}

impl Connections {
    pub(super) fn all(&self) -> [&Arc<Connection>; 4] {
        [&self.control, &self.events, &self.store, &self.work]
    }
}

pub(super) struct NatsLink {
    pub(super) health: Arc<Health>,
    pub(super) names: Names,
    pub(super) connections: Connections,
    pub(super) events: Store,
    pub(super) dead: Store,
    pub(super) letters: DeadLetters,
    pub(super) streams: Streams,
    pub(super) durables: Vec<Durable>,
    pub(super) sent: mpsc::Sender<Sent>,
    pub(super) frames: AtomicU64,
    /// What the subject begins with to which the server says that nobody took a frame.
    pub(super) nobody: String,
    pub(super) idle: Idle,
    /// Where listed dead letters stand.
    pub(super) places: ArcSwap<FxHashMap<MessageId, u64>>,
    /// What receives.
    pub(super) receivers: TaskTracker,
    /// What receives the requests of callers that are no nodes.
    pub(super) strangers: TaskTracker,
    /// Where they wait.
    pub(super) requests: mpsc::Sender<Envelope>,
    /// Ends what receives them alone.
    pub(super) withdrawn: CancellationToken,
    /// Ends it.
    pub(super) closing: CancellationToken,
}

impl Drop for NatsLink {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

impl NatsLink {
    fn place(&self, letters: &[(u64, DeadLetter)]) {
        let known = self.places.load();
        let mut places = if known.len() > PLACES { FxHashMap::default() } else { FxHashMap::clone(&known) };
        places.extend(letters.iter().map(|(sequence, letter)| (letter.id, *sequence)));
        self.places.store(Arc::new(places));
    }

    /// Events as they leave: a lone one of a type that was quiet as a CloudEvent, all others as a frame.
    fn written(&self, name: &Arc<str>, batch: &[Envelope]) -> Result<Bytes, Error> {
        let quiet = self.idle.leaves(name);
        match batch {
            [lone] if quiet => cloud_event::write(lone),
            _ => frame::encode_messages(batch),
        }
    }

    /// Reliable events as they are stored: the same ones have the same id.
    fn parcel(&self, batch: &[Envelope]) -> Result<Option<Parcel>, Error> {
        let Some(Envelope { name, .. }) = batch.first() else { return Ok(None) };
        let ids: Vec<u8> = batch.iter().flat_map(|envelope| envelope.id.as_u128().to_le_bytes()).collect();
        let id = format!("{:032x}", fingerprint(&[name.as_bytes(), &ids]));
        let payload = self.written(name, batch)?;
        Ok(Some(Parcel { subject: self.names.reliable(name), id, delay: Duration::ZERO, payload }))
    }

    async fn list(&self, after: Option<MessageId>, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let behind = match after {
            None => 0,
            Some(id) => match self.places.load().get(&id) {
                Some(sequence) => *sequence,
                None => match self.letters.find(id).await? {
                    Some((sequence, _)) => sequence,
                    None => {
                        return Err(Error::not_started(
                            ErrorKind::NotFound,
                            format!("there is no dead letter `{id}` to go on behind"),
                        ));
                    }
                },
            },
        };
        let letters = self.letters.list(behind, limit).await?;
        self.place(&letters);
        Ok(letters.into_iter().map(|(_, letter)| letter).collect())
    }

    async fn send_requests(&self, node: &str, batch: Vec<Envelope>) -> Result<(), Error> {
        let probe = batch.iter().all(|envelope| envelope.request.as_ref().is_some_and(|request| request.probe));
        let tokens = batch.iter().map(Envelope::token).collect();
        let frame = frame::encode_messages(&batch)?;
        let number = self.frames.fetch_add(1, Ordering::Relaxed);
        // Known before it leaves: the server may say at once that nobody is there. Where a thousand frames left and nothing
        // came back, there is no room, and callers find out by their probes.
        if let Err(TrySendError::Closed(_)) = self.sent.try_send(Sent { number, node: node.into(), tokens }) {
            return Err(Error::shutting_down());
        }
        let to = if probe { self.names.probes(node) } else { self.names.requests(node) };
        let reply = nobody(&self.nobody, number);
        self.connections.control.ask(to, reply, frame).await
    }

    async fn go(&self, for_good: bool) -> Result<(), Error> {
        // However this ends, also when nobody waits for it any more.
        let closing = self.closing.clone().drop_guard();
        let mut given_up = Ok(());
        if for_good {
            for durable in self.durables.iter().filter(|durable| !durable.shared) {
                given_up = given_up.and(self.streams.delete_durable(&durable.name).await);
            }
        }
        // Nothing is sent here any more by the time that this node is gone.
        drop(closing);
        drop(tokio::time::timeout(LEAVING, self.receivers.wait()).await);
        // A client that is dropped forgets what it has not written, and a server that cannot write any more to a connection
        // does not read the rest of it: an acknowledgement would be lost. An answer shows that everything was read.
        let heard = join_all(self.connections.all().map(|connection| round_trip(connection))).await;
        for error in heard.into_iter().filter_map(Result::err) {
            tracing::warn!(target: "catga::nats", %error, "not everything may have left");
        }
        given_up
    }
}

impl Link for NatsLink {
    fn max_payload(&self) -> usize {
        self.connections.control.max_payload().saturating_sub(BESIDE_THE_PAYLOAD)
    }

    fn publish(&self, batch: Vec<Envelope>) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let Some(name) = batch.first().map(|first| first.name.clone()) else { return Ok(()) };
            let frame = self.written(&name, &batch)?;
            self.connections.events.publish(self.names.event(&name), frame).await
        }
        .boxed()
    }

    fn store(&self, batch: Vec<Envelope>) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let Some(parcel) = self.parcel(&batch)? else { return Ok(()) };
            drop(batch);
            self.events.put(&parcel).await.map(drop)
        }
        .boxed()
    }

    fn store_for<'a>(
        &'a self,
        durable: &'a str,
        message: Envelope,
        identity: MessageId,
        delay: Duration,
    ) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let own = self.durables.iter().any(|known| *known.name == *durable);
            if !own && self.streams.durable(durable).await?.is_none() {
                return Err(Error::not_started(ErrorKind::NotFound, format!("there is no durable `{durable}`")));
            }
            let payload = frame::encode_messages(std::slice::from_ref(&message))?;
            let parcel = Parcel { subject: self.names.retry(durable), id: identity.to_string(), delay, payload };
            self.events.put(&parcel).await.map(drop)
        }
        .boxed()
    }

    fn request<'a>(&'a self, node: &'a str, batch: Vec<Envelope>) -> BoxFuture<'a, Result<(), Error>> {
        self.send_requests(node, batch).boxed()
    }

    fn reply<'a>(&'a self, node: &'a str, batch: Vec<Reply>) -> BoxFuture<'a, Result<(), Error>> {
        send_replies(&self.connections.control, &self.names, node, batch).boxed()
    }

    fn announce(&self, announcement: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        self.connections.control.publish(self.names.cluster(), announcement).boxed()
    }

    fn bury(&self, letter: DeadLetter) -> BoxFuture<'_, Result<(), Error>> {
        async move { self.letters.bury(&self.dead, &letter).await }.boxed()
    }

    fn dead_letters(&self, after: Option<MessageId>, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, Error>> {
        self.list(after, limit).boxed()
    }

    fn dead_letter(&self, id: MessageId) -> BoxFuture<'_, Result<Option<DeadLetter>, Error>> {
        async move { Ok(self.letters.find(id).await?.map(|(_, letter)| letter)) }.boxed()
    }

    fn delete_dead_letter(&self, id: MessageId) -> BoxFuture<'_, Result<bool, Error>> {
        self.letters.delete(id).boxed()
    }

    fn backlog(&self) -> BoxFuture<'_, Result<Backlog, Error>> {
        async move {
            let mut here = 0;
            for durable in &self.durables {
                if let Some(info) = self.streams.durable(&durable.name).await? {
                    here += info.num_ack_pending + usize::try_from(info.num_pending).unwrap_or(usize::MAX);
                }
            }
            Ok(Backlog { here, ..Backlog::default() })
        }
        .boxed()
    }

    fn health(&self) -> Result<(), Error> {
        self.health.now()
    }

    fn withdraw(&self) -> BoxFuture<'_, ()> {
        async move {
            self.withdrawn.cancel();
            self.strangers.wait().await;
            // What has come is taken up before anything is refused.
            while self.requests.capacity() < self.requests.max_capacity() && !self.requests.is_closed() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        .boxed()
    }

    fn leave(&self, for_good: bool) -> BoxFuture<'_, Result<(), Error>> {
        self.go(for_good).boxed()
    }
}
