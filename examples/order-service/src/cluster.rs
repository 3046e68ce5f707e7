//! Three nodes in one process. They share the transport and nothing else.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use catga::{Mediator, Routing, transport::Transport};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    node::{CannotStart, Node},
    say,
};

/// How long the nodes may take to get to know each other; they need milliseconds.
const MEETING: Duration = Duration::from_secs(5);

pub struct Cluster<T> {
    transport: T,
    routing: Routing,
    members: BTreeMap<String, Member>,
}

struct Member {
    /// Kept, so that a node comes back where it was.
    address: SocketAddr,
    /// None while it is away.
    node: Option<Node>,
}

impl<T: Transport + Clone> Cluster<T> {
    pub async fn start(addresses: [SocketAddr; 3], routing: Routing, transport: T) -> Result<Self, CannotStart> {
        let mut members = BTreeMap::new();
        for (number, address) in (1..).zip(addresses) {
            let id = format!("node{number}");
            let node = Node::start(&id, address, routing, transport.clone()).await?;
            members.insert(id, Member { address: node.address, node: Some(node) });
        }
        let cluster = Self { transport, routing, members };
        cluster.meet().await;
        Ok(cluster)
    }

    /// Waits until each node sees all the others.
    async fn meet(&self) {
        let nodes = self.running().count();
        for mediator in self.running() {
            let mut changes = mediator.cluster().changes();
            let everybody = async { while online(mediator).count() < nodes && changes.next().await.is_some() {} };
            if timeout(MEETING, everybody).await.is_err() {
                say!(mediator.node(), "⏳ Some nodes are still unknown here");
            }
        }
    }

    fn running(&self) -> impl Iterator<Item = &Mediator> {
        self.members.values().filter_map(|member| Some(&member.node.as_ref()?.mediator))
    }

    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.members.values().map(|member| member.address.port())
    }

    /// Kills a node: what it held in memory is gone, what is stored for it waits in the broker.
    pub async fn kill(&mut self, id: &str) -> Result<(), String> {
        let node = self.member(id)?.node.take().ok_or_else(|| format!("{id} does not run"))?;
        node.kill().await;
        Ok(())
    }

    /// Starts a node again under its id: it gets what it missed.
    pub async fn start_again(&mut self, id: &str) -> Result<(), String> {
        let (transport, routing) = (self.transport.clone(), self.routing);
        let member = self.member(id)?;
        if member.node.is_some() {
            return Err(format!("{id} runs already"));
        }
        let node = Node::start(id, member.address, routing, transport).await.map_err(|error| error.to_string())?;
        member.node = Some(node);
        self.meet().await;
        Ok(())
    }

    fn member(&mut self, id: &str) -> Result<&mut Member, String> {
        let known = self.members.keys().cloned().collect::<Vec<_>>().join(", ");
        self.members.get_mut(id).ok_or_else(|| format!("there is no `{id}`; the nodes are {known}"))
    }

    /// One line a node: where it is, whether it runs, and whom it sees.
    pub fn describe(&self) -> String {
        let line = |(id, member): (&String, &Member)| {
            let state = match &member.node {
                Some(node) => format!("sees {}", online(&node.mediator).collect::<Vec<_>>().join(", ")),
                None => "does not run".to_owned(),
            };
            format!("{id}  http://localhost:{}  {state}", member.address.port())
        };
        self.members.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Stops all nodes gently.
    pub async fn stop(self) -> Result<(), catga::Error> {
        let nodes = self.members.into_values().filter_map(|member| member.node);
        let (servers, mediators): (Vec<_>, Vec<_>) = nodes.map(Node::into_parts).unzip();
        servers.into_iter().map(|server| server.stop()).collect::<JoinSet<_>>().join_all().await;
        // One after the other: each handles what is left for it in the broker.
        let mut ended = Ok(());
        for mediator in mediators {
            ended = ended.and(mediator.shutdown().await);
            say!(mediator.node(), "👋 Stopped");
        }
        ended
    }
}

/// The nodes that are online, as one of them sees it.
fn online(mediator: &Mediator) -> impl Iterator<Item = String> {
    mediator.cluster().nodes().into_iter().filter(|node| node.online).map(|node| node.id)
}
