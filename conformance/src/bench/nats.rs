//! The transport over NATS, as a subject of the suite: a server of its own, and a network that fails before each node.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use catga::{
    Error, Limits,
    transport::{Capabilities, Joined, Nats, Registration, Transport},
};
use catga_tests::proxy::{Direction, Message, Proxy, Rule};
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, SemaphorePermit};
use xtask::nats::{Server, ServerOptions};

use super::subject::{Faults, Subject};
use crate::history::Pace;

/// How many servers run at the same time: each scenario has one, and mostly waits.
static SERVERS: Semaphore = Semaphore::const_new(4);

/// What inboxes begin with under the application's default name.
const INBOX: &str = "catga.inbox.";

/// Nodes on one server.
pub struct NatsSubject {
    network: Arc<Network>,
    capabilities: Capabilities,
    server: Mutex<Server>,
    _permit: SemaphorePermit<'static>,
}

/// What lies between the nodes and the server.
struct Network {
    /// Where the server listens.
    port: u16,
    /// The proxy of each node. That of a node that was killed is gone.
    proxies: Mutex<BTreeMap<String, Arc<Proxy>>>,
    /// The faults in force, for proxies that are yet to come.
    faults: Mutex<Vec<Strike>>,
}

/// Makes the rule of a fault for one more proxy.
type Strike = Box<dyn Fn() -> Rule + Send + Sync>;

/// A way in: each node that joins gets a network of its own.
struct Door {
    network: Arc<Network>,
    capabilities: Capabilities,
}

impl NatsSubject {
    /// Starts a server.
    pub async fn start() -> Self {
        show_log();
        let permit = SERVERS.acquire().await.unwrap();
        let start = || Server::start(&ServerOptions::default());
        let server = tokio::task::spawn_blocking(start).await.unwrap().unwrap();
        let network = Network { port: server.port(), proxies: Mutex::default(), faults: Mutex::default() };
        let capabilities = Nats::connect(server.url()).await.unwrap().capabilities();
        Self { network: Arc::new(network), capabilities, server: Mutex::new(server), _permit: permit }
    }
}

/// A test that fails shows the log of its nodes, as `RUST_LOG` wants it.
fn show_log() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_default_env() {
        // Another test may have done so.
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_test_writer().try_init();
    }
}

impl Network {
    /// Builds a network for a node, in the place of the one that it may have had.
    async fn open(&self, node: &str) -> Arc<Proxy> {
        let proxy = Arc::new(Proxy::start(self.port).await.unwrap());
        for strike in self.faults.lock().unwrap().iter() {
            proxy.add(strike());
        }
        self.proxies.lock().unwrap().insert(node.to_owned(), proxy.clone());
        proxy
    }

    fn of(&self, node: &str) -> Option<Arc<Proxy>> {
        self.proxies.lock().unwrap().get(node).cloned()
    }

    fn proxies(&self) -> Vec<Arc<Proxy>> {
        self.proxies.lock().unwrap().values().cloned().collect()
    }

    /// So many messages meet a fate, at whichever node; `holds` says how many of them one message of NATS holds.
    fn strike(
        &self,
        count: usize,
        direction: Direction,
        holds: fn(&Message) -> usize,
        rule: impl Fn(Direction, Box<Fits>) -> Rule + Send + Sync + 'static,
    ) {
        let left = Arc::new(AtomicUsize::new(count));
        let strike = move || {
            let left = left.clone();
            let struck = move |message: &Message| {
                let held = holds(message);
                let less = |left: usize| (held > 0 && left > 0).then(|| left.saturating_sub(held));
                left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
            };
            rule(direction, Box::new(struck))
        };
        for proxy in self.proxies() {
            proxy.add(strike());
        }
        self.faults.lock().unwrap().push(Box::new(strike));
    }
}

/// Whether a message is meant.
type Fits = dyn Fn(&Message) -> bool + Send + Sync;

impl Transport for Door {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn join(&self, node: Registration) -> BoxFuture<'_, Result<Joined, Error>> {
        Box::pin(async move {
            let proxy = self.network.open(&node.node).await;
            Nats::connect(proxy.url()).await?.join(node).await
        })
    }
}

impl Subject for NatsSubject {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(Door { network: self.network.clone(), capabilities: self.capabilities })
    }

    fn limits(&self) -> Limits {
        Limits {
            ack_wait: Duration::from_secs(1),
            heartbeat: Duration::from_millis(500),
            silence: Duration::from_secs(2),
            ..Limits::default()
        }
    }

    fn pace(&self) -> Pace {
        // The client tries again after four seconds at the latest.
        Pace { late: Duration::from_secs(1), reconnects: Duration::from_secs(5) }
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn killed(&self, node: &str) {
        // The last that holds a proxy cuts its connections.
        self.network.proxies.lock().unwrap().remove(node);
    }

    fn under_way(&self) -> usize {
        // The consumer asks for 32 deliveries at a time and has 64 at hand, each of at most 32 messages.
        96 * 32
    }

    fn faults(&self) -> &dyn Faults {
        self
    }
}

fn acknowledgements(message: &Message) -> usize {
    usize::from(message.subject.starts_with("$JS.ACK.") && message.payload.starts_with(b"+ACK"))
}

fn confirmations(message: &Message) -> usize {
    usize::from(message.subject.starts_with(INBOX) && message.payload.starts_with(b"{\"stream\":"))
}

fn deliveries(message: &Message) -> usize {
    usize::from(message.reply.as_ref().is_some_and(|reply| reply.starts_with("$JS.ACK.")))
}

fn requests(message: &Message) -> usize {
    in_frame(message, "catga.node.", ".request")
}

fn replies(message: &Message) -> usize {
    in_frame(message, "catga.reply.", ".frame")
}

/// How many requests or replies a frame holds that is for one node.
fn in_frame(message: &Message, sort: &str, what: &str) -> usize {
    let is_one = message.subject.starts_with(sort) && message.subject.ends_with(what);
    // Behind the magic byte, the version and the type stands the number; no frame holds more than one byte can say.
    let number = message.payload.get(3).copied().unwrap_or_default();
    if is_one { number.into() } else { 0 }
}

impl Faults for NatsSubject {
    fn cut<'a>(&'a self, node: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Some(proxy) = self.network.of(node) {
                proxy.refuse();
                proxy.cut().await;
            }
        })
    }

    fn disconnect<'a>(&'a self, node: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Some(proxy) = self.network.of(node) {
                proxy.cut().await;
            }
        })
    }

    fn silence<'a>(&'a self, node: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Some(proxy) = self.network.of(node) {
                proxy.freeze();
            }
        })
    }

    fn heal(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.network.faults.lock().unwrap().clear();
            for proxy in self.network.proxies() {
                proxy.clear();
                proxy.admit();
                proxy.thaw();
            }
        })
    }

    fn restart(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { tokio::task::block_in_place(|| self.server.lock().unwrap().restart()).unwrap() })
    }

    fn lose_acknowledgements(&self, count: usize) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.network.strike(count, Direction::ToServer, acknowledgements, Rule::drop) })
    }

    fn lose_store_confirmations(&self, count: usize) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.network.strike(count, Direction::ToClient, confirmations, Rule::drop) })
    }

    fn lose_deliveries(&self, count: usize) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.network.strike(count, Direction::ToClient, deliveries, Rule::drop) })
    }

    fn double_deliveries(&self, count: usize) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.network.strike(count, Direction::ToClient, deliveries, Rule::duplicate) })
    }

    fn double_requests(&self, count: usize) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.network.strike(count, Direction::ToClient, requests, Rule::duplicate) })
    }

    fn lose_replies(&self, count: usize) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.network.strike(count, Direction::ToClient, replies, Rule::drop) })
    }

    fn delay_replies(&self, count: usize, delay: Duration) -> BoxFuture<'_, ()> {
        let late = move |direction, fits| Rule::delay(direction, fits, delay);
        Box::pin(async move { self.network.strike(count, Direction::ToClient, replies, late) })
    }
}
