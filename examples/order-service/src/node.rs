//! One node: a mediator, and the HTTP server in front of it.

use std::{
    fmt,
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use catga::{Limits, Mediator, Routing, transport::Transport};
use tokio::net::TcpListener;

use crate::{api, say, server::Server, store::Store};

pub struct Node {
    pub mediator: Mediator,
    server: Server,
    /// Where it listens; the port is the one that it has, also where any was asked for.
    pub address: SocketAddr,
}

impl Node {
    pub async fn start(
        id: &str,
        address: SocketAddr,
        routing: Routing,
        transport: impl Transport,
    ) -> Result<Self, CannotStart> {
        let cannot = |error| CannotStart::Listen(address.port(), error);
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let endpoint = format!("http://localhost:{}", address.port());

        // Shorter than the defaults, so that one sees within seconds how a killed node goes offline, and how what was
        // under way to it arrives once it is back.
        let limits = Limits {
            heartbeat: Duration::from_secs(1),
            silence: Duration::from_secs(5),
            ack_wait: Duration::from_secs(5),
            ..Limits::default()
        };
        let mediator = Mediator::builder()
            .node(id)
            .endpoint(&endpoint)
            .transport(transport)
            .routing(routing)
            .limits(limits)
            .state(Store::new())
            .killable()
            .build()
            .await
            .map_err(CannotStart::Build)?;

        let server = Server::start(listener, api::routes(mediator.clone()));
        say!(id, "🚀 Serving on {endpoint}");
        Ok(Self { mediator, server, address })
    }

    /// For stopping gently: first the server, so that clients still get their answers, then the mediator.
    pub fn into_parts(self) -> (Server, Mediator) {
        (self.server, self.mediator)
    }

    /// Ends as `kill -9` would end it.
    pub async fn kill(self) {
        self.mediator.kill();
        self.server.cut_off().await;
        say!(self.mediator.node(), "💀 Killed");
    }
}

/// Why a node does not start.
#[derive(Debug)]
pub enum CannotStart {
    Listen(u16, io::Error),
    Build(catga::Error),
}

impl fmt::Display for CannotStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(port, error) if error.kind() == ErrorKind::AddrInUse => {
                write!(f, "port {port} is in use; stop what uses it, or choose another port")
            }
            Self::Listen(port, error) => write!(f, "port {port} cannot be used: {error}"),
            Self::Build(error) => error.fmt(f),
        }
    }
}
