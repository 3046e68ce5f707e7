//! A network between clients and a NATS server that fails when it is told to.
//!
//! Connections can be cut, refused, frozen (they stay open, and nothing gets through) and slowed down; and [rules](Rule)
//! lose, double or delay single messages on their way. It reads the protocol as it is without TLS.

mod connection;
mod protocol;
mod rules;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use self::rules::Rules;
pub use self::{
    protocol::Message,
    rules::{Applied, Direction, Rule},
};

/// Stands before a server; clients connect to [`url`](Self::url). Dropping it cuts all connections.
pub struct Proxy {
    address: SocketAddr,
    network: Arc<Network>,
    accepting: JoinHandle<()>,
}

/// What all connections share.
struct Network {
    rules: Rules,
    /// Whether something gets through.
    thawed: watch::Sender<bool>,
    /// How long each message is under way.
    delay: watch::Sender<Duration>,
    /// Whether new connections are refused.
    refuses: AtomicBool,
    /// Says to those that listen, the connections that are open now, that they are cut. After that it is replaced.
    cut: Mutex<watch::Sender<bool>>,
}

impl Network {
    fn cut(&self) -> MutexGuard<'_, watch::Sender<bool>> {
        self.cut.lock().unwrap_or_else(|error| error.into_inner())
    }
}

impl Proxy {
    /// Stands before the server that listens on this port of the machine.
    pub async fn start(server: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let network = Arc::new(Network {
            rules: Rules::default(),
            thawed: watch::Sender::new(true),
            delay: watch::Sender::new(Duration::ZERO),
            refuses: AtomicBool::new(false),
            cut: Mutex::new(watch::Sender::new(false)),
        });
        let server = (Ipv4Addr::LOCALHOST, server).into();
        let accepting = tokio::spawn(accept(listener, server, network.clone()));
        Ok(Self { address, network, accepting })
    }

    /// Where clients connect to.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// The same, without the scheme.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.network.cut().receiver_count()
    }

    /// Cuts all connections, as a router does that forgets them: both ends get a reset. New ones are welcome. When it
    /// returns, they are closed.
    pub async fn cut(&self) {
        let open = std::mem::replace(&mut *self.network.cut(), watch::Sender::new(false));
        open.send_replace(true);
        open.closed().await;
    }

    /// Resets new connections at once, until [`admit`](Self::admit). Those that are open stay.
    pub fn refuse(&self) {
        self.network.refuses.store(true, Ordering::Relaxed);
    }

    /// Takes new connections again.
    pub fn admit(&self) {
        self.network.refuses.store(false, Ordering::Relaxed);
    }

    /// Lets nothing through in either direction, until [`thaw`](Self::thaw). No side learns of it: connections stay open,
    /// and new ones are taken. What is sent meanwhile arrives later, as on a network that is repaired, unless the
    /// connection is [`cut`](Self::cut) first.
    pub fn freeze(&self) {
        self.network.thawed.send_replace(false);
    }

    /// Lets everything through again.
    pub fn thaw(&self) {
        self.network.thawed.send_replace(true);
    }

    /// From now on each message takes this long to arrive, in both directions, on top of what it takes anyway.
    pub fn delay(&self, delay: Duration) {
        self.network.delay.send_replace(delay);
    }

    /// Adds a rule for what comes from now on; gives how often it is applied. The first rule that fits decides.
    pub fn add(&self, rule: Rule) -> Applied {
        self.network.rules.add(rule)
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.network.rules.clear();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.network.cut().send_replace(true);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, network: Arc<Network>) {
    loop {
        // An error is about one connection: the next is taken all the same.
        let Ok((client, _)) = listener.accept().await else { continue };
        if network.refuses.load(Ordering::Relaxed) {
            connection::reset(client);
            continue;
        }
        let cut = network.cut().subscribe();
        tokio::spawn(connection::run(client, server, network.clone(), cut));
    }
}
