//! The transport over [NATS](https://docs.nats.io): core messages for requests and events of QoS 0, JetStream for reliable
//! events.

mod address;
mod api;
mod bounds;
mod clock;
pub(crate) mod cloud_event;
mod connection;
mod consumer;
mod credentials;
mod dead;
#[cfg(test)]
mod document;
mod environment;
mod foreign;
#[cfg(test)]
mod fuzz;
mod headers;
mod health;
mod idle;
mod inbox;
mod link;
pub(crate) mod listener;
mod mux;
mod names;
mod operator;
mod options;
mod permissions;
mod puller;
mod reaper;
mod recovery;
mod replies;
mod settings;
mod store;
mod streams;
pub(crate) mod wire;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use arc_swap::ArcSwap;
use async_nats::ServerInfo;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::mpsc;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use self::{
    api::Api,
    bounds::Bounds,
    clock::Clock,
    connection::Connection,
    dead::DeadLetters,
    health::Health,
    idle::Idle,
    inbox::{Post, Subscriptions, Wanted, serve_foreign, take_announcements, take_events},
    link::{Connections, NatsLink},
    mux::Mux,
    names::{Names, StreamKind},
    permissions::{INFO, check},
    puller::Puller,
    reaper::Reaper,
    settings::Settings,
    store::Store,
    streams::{Streams, stream_name},
};
pub use self::{options::NatsBuilder, permissions::Permissions};
use super::{Capabilities, Consumer, Inbox, Joined, Registration, Transport};
use crate::error::{Error, ErrorKind};

/// The oldest server that keeps what is promised.
const OLDEST: (u32, u32) = (2, 10);
/// How long the server may take to show that it knows the subscriptions.
const ROUND_TRIP: Duration = Duration::from_secs(3);

/// Nodes on one or more machines, over NATS servers with JetStream.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), catga::Error> {
/// use catga::{Mediator, transport::Nats};
///
/// let nats = Nats::connect("nats://localhost:4222").await?;
/// let mediator = Mediator::builder().node("node1").transport(nats).build().await?;
/// # mediator.shutdown().await
/// # }
/// ```
#[derive(Clone)]
pub struct Nats {
    settings: Arc<Settings>,
    bounds: Bounds,
}

impl Nats {
    /// Connects to a server, and checks that it can be used: [`builder`](Self::builder) with this
    /// [`server`](NatsBuilder::server) and nothing else.
    ///
    /// # Errors
    ///
    /// As [`NatsBuilder::connect`].
    pub async fn connect(url: impl AsRef<str>) -> Result<Self, Error> {
        Self::builder().server(url.as_ref()).connect().await
    }

    /// Connects as the environment says, under the names that the `nats` command uses: see [`NatsBuilder::from_env`].
    ///
    /// # Errors
    ///
    /// As [`NatsBuilder::from_env`] and [`NatsBuilder::connect`].
    pub async fn from_env() -> Result<Self, Error> {
        NatsBuilder::from_env()?.connect().await
    }

    /// Starts to describe a connection.
    pub fn builder() -> NatsBuilder {
        NatsBuilder::default()
    }

    /// The least that the server must permit to the nodes of an application. A node tries all of it when it starts, and
    /// names what is missing.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), catga::Error> {
    /// let nats = catga::transport::Nats::connect("nats://localhost").await?;
    /// // For the configuration of the server.
    /// println!("{}", nats.permissions("orders"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn permissions(&self, app: &str) -> Permissions {
        let names = Names::new(app);
        Permissions::new(&names, &self.settings.inbox(&names))
    }

    async fn open(settings: Settings, bounds: Bounds) -> Result<Self, Error> {
        let this = Self { settings: Arc::new(settings), bounds };
        // Without a connection that stays: the nodes have theirs.
        let client = this.settings.connect(&this.settings.name, "_INBOX", |_| {}).await?;
        check_server(&client.server_info())?;
        Ok(this)
    }

    async fn join_node(&self, node: Registration) -> Result<Joined, Error> {
        let names = Names::new(&node.app);
        let closing = CancellationToken::new();
        let guard = closing.clone().drop_guard();
        check(&self.settings, &names, &node).await?;
        let open = |role: &str| {
            let name = format!("{}/{}/{}/{role}", self.settings.name, node.app, node.node);
            Connection::open(self.settings.clone(), name, self.settings.inbox(&names), closing.clone())
        };
        let (control, events, store, work) =
            tokio::try_join!(open("control"), open("events"), open("store"), open("work"))?;
        let server = control.client().server_info();
        check_server(&server)?;
        let connections = Connections { control, events, store, work };

        let api = Api(Mux::open(connections.control.clone(), closing.clone()).await?);
        let mux = Mux::open(connections.store.clone(), closing.clone()).await?;
        let clustered = server.cluster.is_some();
        let streams = Streams { api: api.clone(), names: names.clone(), bounds: self.bounds.clone(), clustered };
        streams.ensure().await?;
        streams.fit().await?;

        let (senders, mut inbox) = Inbox::new(node.queue);
        let (sent, frames) = mpsc::channel(1_024);
        let post = || Post {
            names: names.clone(),
            node: node.node.clone(),
            connection: connections.control.clone(),
            inbox: senders.clone(),
        };
        let control = |wanted| Subscriptions::open(connections.control.clone(), wanted);
        let own = control(vec![alone(names.node(&node.node, "*"))]).await?;
        let back = control(vec![alone(names.reply(&node.node, "*"))]).await?;
        inbox.replies = replies::stream(back, frames, closing.clone());
        let cluster = control(vec![alone(names.cluster())]).await?;
        let group = |name: &Arc<str>| Wanted { subject: names.request(name), group: Some("catga".to_owned()) };
        let foreign = control(node.requests.iter().map(group).collect()).await?;
        let wanted = node.events.iter().map(|name| alone(names.event(name))).collect();
        let events = Subscriptions::open(connections.events.clone(), wanted).await?;
        let receivers = TaskTracker::new();
        receivers.spawn(post().run(own, closing.clone()));
        let (strangers, withdrawn) = (TaskTracker::new(), closing.child_token());
        strangers.spawn(receivers.track_future(serve_foreign(post(), foreign, withdrawn.clone())));
        strangers.close();
        receivers.spawn(take_announcements(cluster, senders.cluster.clone(), closing.clone()));
        receivers.spawn(take_events(names.clone(), events, senders.clone(), closing.clone()));
        receivers.close();

        let clock = Clock::new();
        let mut consumers: Vec<Box<dyn Consumer>> = Vec::with_capacity(node.durables.len());
        for durable in &node.durables {
            let work = connections.work.clone();
            let puller = Puller::start(work, streams.clone(), durable.clone(), clock.clone(), closing.child_token());
            consumers.push(Box::new(puller.await?));
        }
        for connection in connections.all() {
            round_trip(connection).await?;
        }
        let store = |kind| Store { mux: mux.clone(), stream: stream_name(&names, kind), streams: streams.clone() };
        let letters = DeadLetters { api, names: names.clone() };
        let reaper = Reaper {
            connection: connections.work.clone(),
            streams: streams.clone(),
            letters: letters.clone(),
            store: store(StreamKind::Dead),
            node: node.node.clone(),
        };
        tokio::spawn(reaper.run(closing.clone()));
        let health = Arc::new(Health {
            settings: self.settings.clone(),
            permissions: Permissions::new(&names, &self.settings.inbox(&names)),
            connections: connections.clone(),
        });
        let (watch, again) = (health.clone(), node.clone());
        let watch = async move |names| watch.watch(names, again).await;
        tokio::spawn(closing.clone().run_until_cancelled_owned(watch(names.clone())));
        let link = NatsLink {
            health,
            events: store(StreamKind::Events),
            dead: store(StreamKind::Dead),
            letters,
            connections,
            streams,
            durables: node.durables,
            sent,
            frames: AtomicU64::new(0),
            nobody: replies::nobody_prefix(&names, &node.node),
            names,
            idle: Idle::new(),
            places: ArcSwap::default(),
            receivers,
            strangers,
            requests: senders.requests.clone(),
            withdrawn,
            closing: DropGuard::disarm(guard),
        };
        Ok(Joined::new(Arc::new(link), inbox, consumers))
    }
}

fn alone(subject: async_nats::Subject) -> Wanted {
    Wanted { subject, group: None }
}

/// An answer of the server shows that it has read everything that was sent before over the same connection.
async fn round_trip(connection: &Connection) -> Result<(), Error> {
    let asked = tokio::time::timeout(ROUND_TRIP, connection.client().request(INFO, "".into())).await;
    match asked {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            Err(Error::not_started(ErrorKind::Transport, format!("the server gives no information: {error}"))
                .with_source(error))
        }
        Err(_) => {
            Err(Error::not_started(ErrorKind::TimedOut, format!("the server did not answer within {ROUND_TRIP:?}")))
        }
    }
}

/// Refuses a server that cannot keep what is promised.
fn check_server(server: &ServerInfo) -> Result<(), Error> {
    let mut numbers = server.version.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OLDEST {
        return Err(Error::configuration(format!(
            "the server is nats-server {}: catga needs {}.{} or newer (2.12 or newer is recommended)",
            server.version, OLDEST.0, OLDEST.1
        )));
    }
    if !server.jetstream {
        return Err(Error::configuration(
            "the server has no JetStream, which keeps reliable events: start it with `nats-server --jetstream`",
        ));
    }
    Ok(())
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("servers", &self.settings.address()).finish_non_exhaustive()
    }
}

impl Transport for Nats {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            survives_the_process: true,
            may_end_unknown: true,
            can_be_disconnected: true,
            has_a_horizon: true,
            messages_share_a_delivery: true,
        }
    }

    fn join(&self, node: Registration) -> BoxFuture<'_, Result<Joined, Error>> {
        self.join_node(node).boxed()
    }
}
