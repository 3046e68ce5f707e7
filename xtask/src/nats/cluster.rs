//! Three servers that keep what is stored on all of them.

use std::time::Instant;

use super::{
    config::Ports,
    server::{LOOK, PATIENCE, Server, ServerOptions, TRIES},
};
use crate::{
    ports::{free_port, unique},
    shell::Result,
};

/// A cluster of three servers, enough for streams with three replicas.
///
/// The servers do not tell clients of each other: a client knows those that it was given, and a proxy before one is not
/// passed by.
#[derive(Debug)]
pub struct Cluster {
    /// The servers, to be killed, paused and started again one by one.
    pub servers: [Server; 3],
}

impl Cluster {
    /// Starts three servers, and waits until they have agreed on a leader.
    ///
    /// # Errors
    ///
    /// As [`Server::start`].
    pub fn start(options: &ServerOptions) -> Result<Self> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut cluster = Self::launch(options)?;
            // Of a member of a cluster, to serve implies that it knows the leader.
            match cluster.servers.iter_mut().try_for_each(Server::serves) {
                Ok(()) => return Ok(cluster),
                Err(_) if tries < TRIES && cluster.servers.iter().any(Server::lost_its_port) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn launch(options: &ServerOptions) -> Result<Self> {
        let name = format!("catga-{:x}", unique());
        let own = [free_port()?, free_port()?, free_port()?];
        let routes = own.map(|port| format!("\"nats://127.0.0.1:{port}\"")).join(", ");
        let server = |number: usize| {
            let cluster = format!(
                "cluster {{ name: {name:?}, listen: \"127.0.0.1:{}\", routes: [{routes}], no_advertise: true }}",
                own[number]
            );
            Server::launch(options, &format!("{name}-{number}"), Ports::free()?, &cluster)
        };
        Ok(Self { servers: [server(0)?, server(1)?, server(2)?] })
    }

    /// Where clients connect to: all three, with commas between.
    pub fn url(&self) -> String {
        self.servers.each_ref().map(Server::url).join(",")
    }

    /// Waits until those that run agree on a leader that runs, and says which it is: its place in
    /// [`servers`](Self::servers).
    ///
    /// # Errors
    ///
    /// If there is none in time, as when fewer than two servers run.
    pub fn leader(&self) -> Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(leader) = self.agreed_leader() {
                return Ok(leader);
            }
            if Instant::now() >= deadline {
                return Err(format!("the cluster at {} has no leader after {PATIENCE:?}", self.url()));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn agreed_leader(&self) -> Option<usize> {
        let running = self.servers.iter().filter(|server| server.is_running());
        let mut named = running.map(|server| {
            let answer = server.monitor("/jsz").ok()?;
            let name = answer.field("leader")?;
            self.servers.iter().position(|server| server.is_running() && server.name() == name)
        });
        let first = named.next()??;
        named.all(|leader| leader == Some(first)).then_some(first)
    }
}
