//! One connection to the server, which is replaced when its client dies.
//!
//! The client reconnects by itself, but a header that it cannot read ends its task for good: every subscription ends, and
//! it goes on to call itself connected. Whoever notices says so here, and gets a new client.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
};

use arc_swap::ArcSwap;
use async_nats::{Client, Event, HeaderMap, PublishError, ServerError, Subject, Subscriber};
use bytes::Bytes;
use tokio::{
    sync::{mpsc, watch},
    time::{Duration, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{permissions::Refused, settings::Settings};
use crate::error::{Error, ErrorKind};

/// How long a message may wait for room in the client's queue.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest pause between two attempts to make a new client.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// The most refusals that are kept: each is a subject, and a few show what is wrong.
const REFUSALS: usize = 64;

/// A connection that lives on when its client does not.
pub(super) struct Connection {
    settings: Arc<Settings>,
    /// What it is for, as it is called on the server.
    name: String,
    inbox: String,
    client: ArcSwap<Client>,
    state: Arc<State>,
    /// Which client is dead.
    dead: mpsc::Sender<u64>,
}

/// What the client says of itself.
struct State {
    connected: AtomicBool,
    /// How often a connection was made: what was asked over an earlier one is not answered.
    epoch: watch::Sender<u64>,
    /// The number of the client.
    generation: AtomicU64,
    /// What the server refused for want of a permission since the connection was made.
    refused: ArcSwap<Vec<Refused>>,
}

/// A message that is to leave.
pub(super) struct Outgoing {
    pub(super) subject: Subject,
    pub(super) payload: Bytes,
    /// The subject that an answer is to have.
    pub(super) reply: Option<Subject>,
    pub(super) headers: Option<HeaderMap>,
}

impl Outgoing {
    async fn send(self, client: &Client) -> Result<(), PublishError> {
        let Self { subject, payload, reply, headers } = self;
        match (reply, headers) {
            (None, None) => client.publish(subject, payload).await,
            (None, Some(headers)) => client.publish_with_headers(subject, headers, payload).await,
            (Some(reply), None) => client.publish_with_reply(subject, reply, payload).await,
            (Some(reply), Some(headers)) => {
                client.publish_with_reply_and_headers(subject, reply, headers, payload).await
            }
        }
    }
}

impl Connection {
    /// Connects; what is made is closed when `closing` fires.
    ///
    /// # Errors
    ///
    /// `Transport` when there is no server, `Configuration` when it refuses this client.
    pub(super) async fn open(
        settings: Arc<Settings>,
        name: String,
        inbox: String,
        closing: CancellationToken,
    ) -> Result<Arc<Self>, Error> {
        let state = Arc::new(State {
            connected: AtomicBool::new(false),
            epoch: watch::Sender::new(0),
            generation: AtomicU64::new(1),
            refused: ArcSwap::default(),
        });
        let client = settings.connect(&name, &inbox, listener(&state, &name)).await?;
        state.connected.store(true, Ordering::Release);
        let (dead, reports) = mpsc::channel(1);
        let connection = Arc::new(Self { settings, name, inbox, client: ArcSwap::from_pointee(client), state, dead });
        tokio::spawn(closing.run_until_cancelled_owned(replace_dead_clients(Arc::downgrade(&connection), reports)));
        Ok(connection)
    }

    pub(super) fn client(&self) -> Client {
        Client::clone(&self.client.load())
    }

    /// The most bytes that the server takes in a message. Hot: asked for each message, so that no client is cloned for it.
    pub(super) fn max_payload(&self) -> usize {
        self.client.load().max_payload()
    }

    /// The number of the present client, for [`replaced`](Self::replaced).
    pub(super) fn generation(&self) -> u64 {
        self.state.generation.load(Ordering::Acquire)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.state.connected.load(Ordering::Acquire)
    }

    /// Changes with each connection that is made.
    pub(super) fn epochs(&self) -> watch::Receiver<u64> {
        self.state.epoch.subscribe()
    }

    /// What the server refused for want of a permission since the connection was made.
    pub(super) fn refused(&self) -> Arc<Vec<Refused>> {
        self.state.refused.load_full()
    }

    pub(super) fn is_refused(&self, subject: &str) -> bool {
        self.state.refused.load().iter().any(|refused| refused.subject == subject)
    }

    /// The client of this number is dead: asks for a new one and waits until it is there.
    pub(super) async fn replaced(&self, generation: u64) {
        let mut epochs = self.epochs();
        while self.generation() == generation {
            // A full queue holds the same report.
            let _ = self.dead.try_send(generation);
            if epochs.changed().await.is_err() {
                return;
            }
        }
    }

    /// Subscribes, as a member of a group if one is named. It ends with the client.
    ///
    /// # Errors
    ///
    /// `Transport` if the client takes nothing.
    pub(super) async fn subscribe(&self, subject: &Subject, group: Option<&str>) -> Result<Subscriber, Error> {
        let client = self.client();
        let subscribed = match group {
            Some(group) => client.queue_subscribe(subject.clone(), group.to_owned()).await,
            None => client.subscribe(subject.clone()).await,
        };
        subscribed.map_err(|error| {
            let text = format!("subscribing to `{subject}` failed: {error}");
            Error::not_started(ErrorKind::Transport, text).with_source(error)
        })
    }

    /// Hands a message to the client.
    ///
    /// # Errors
    ///
    /// `Transport` when there is no connection, `TooLarge` for more than the server carries; both `NotStarted`: the message
    /// has not left.
    pub(super) async fn publish(&self, subject: Subject, payload: Bytes) -> Result<(), Error> {
        self.hand_over(Outgoing { subject, payload, reply: None, headers: None }).await
    }

    /// The same, with the subject that an answer is to have.
    pub(super) async fn ask(&self, subject: Subject, reply: Subject, payload: Bytes) -> Result<(), Error> {
        self.hand_over(Outgoing { subject, payload, reply: Some(reply), headers: None }).await
    }

    /// Gives the client a message, unless it is known not to leave: what a client without a connection keeps would be sent
    /// much later, or fill its queue. Hot: nearly always there is room, and nothing waits.
    pub(super) async fn hand_over(&self, message: Outgoing) -> Result<(), Error> {
        let generation = self.generation();
        if !self.is_connected() {
            return Err(self.not_connected());
        }
        // A clone of the client itself would cost more than the message.
        let client = self.client.load_full();
        // In a box of its own: what waits for this is boxed, too, and above a thousand bytes the allocator takes a lock.
        let mut sending = Box::pin(message.send(&client));
        let sent = match futures_util::poll!(sending.as_mut()) {
            Poll::Ready(sent) => Ok(sent),
            Poll::Pending => Box::pin(timeout(PATIENCE, sending)).await,
        };
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                if error.kind() == async_nats::client::PublishErrorKind::Send {
                    let _ = self.dead.try_send(generation);
                }
                let kind = match error.kind() {
                    async_nats::client::PublishErrorKind::MaxPayloadExceeded => ErrorKind::TooLarge,
                    _ => ErrorKind::Transport,
                };
                let text = format!("the message could not be handed to the connection: {error}");
                Err(Error::not_started(kind, text).with_source(error))
            }
            Err(_) => Err(Error::not_started(
                ErrorKind::Transport,
                format!("the connection to {} took no message for {PATIENCE:?}", self.settings.address()),
            )),
        }
    }

    pub(super) fn not_connected(&self) -> Error {
        let text = format!("there is no connection to {}; it is being made again", self.settings.address());
        Error::not_started(ErrorKind::Transport, text)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("name", &self.name).field("connected", &self.is_connected()).finish()
    }
}

/// Keeps what the client says.
fn listener(state: &Arc<State>, name: &str) -> impl Fn(Event) + Send + Sync + 'static + use<> {
    let (state, name, first) = (state.clone(), name.to_owned(), AtomicBool::new(true));
    move |event| match event {
        Event::Connected => {
            // The server checks everything anew, and says so again.
            state.refused.store(Arc::default());
            // Whoever made the client counts its first connection: counted here, too, everything would be asked for twice.
            if !first.swap(false, Ordering::AcqRel) {
                state.connected.store(true, Ordering::Release);
                state.epoch.send_modify(|epoch| *epoch += 1);
            }
            tracing::info!(target: "catga::nats", connection = %name, "connected");
        }
        Event::Disconnected => {
            state.connected.store(false, Ordering::Release);
            tracing::warn!(target: "catga::nats", connection = %name, "the connection is lost");
        }
        // This side gave it up.
        Event::Closed => state.connected.store(false, Ordering::Release),
        Event::ServerError(ServerError::Other(text)) => {
            tracing::error!(target: "catga::nats", connection = %name, "the server refuses: {text}");
            // Foreign callers choose where answers go, and could crowd out what this node needs.
            if let Some(refused) = Refused::read(&text).filter(|refused| !refused.is_an_answer()) {
                state.refused.rcu(|known| {
                    let mut all = Vec::clone(known);
                    if all.len() < REFUSALS && !all.contains(&refused) {
                        all.push(refused.clone());
                    }
                    all
                });
            }
        }
        other => tracing::warn!(target: "catga::nats", connection = %name, "{other}"),
    }
}

/// Makes a new client for each that is reported dead.
async fn replace_dead_clients(connection: std::sync::Weak<Connection>, mut reports: mpsc::Receiver<u64>) {
    while let Some(generation) = reports.recv().await {
        let Some(connection) = connection.upgrade() else { return };
        if connection.generation() != generation {
            continue;
        }
        connection.state.connected.store(false, Ordering::Release);
        tracing::error!(target: "catga::nats", connection = %connection.name, "the client has died; making a new one");
        let mut pause = Duration::from_millis(50);
        let client = loop {
            let listener = listener(&connection.state, &connection.name);
            match connection.settings.connect(&connection.name, &connection.inbox, listener).await {
                Ok(client) => break client,
                Err(error) => {
                    tracing::warn!(target: "catga::nats", %error, "no new client yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        };
        connection.client.store(Arc::new(client));
        connection.state.generation.fetch_add(1, Ordering::AcqRel);
        connection.state.connected.store(true, Ordering::Release);
        connection.state.epoch.send_modify(|epoch| *epoch += 1);
    }
}
