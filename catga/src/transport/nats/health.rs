//! Whether a node can do its work now, and what is done when it may not.

use std::{sync::Arc, time::Duration};

use super::{
    connection::Connection,
    link::Connections,
    names::Names,
    permissions::{Permissions, check},
    settings::Settings,
};
use crate::{error::Error, transport::Registration};

/// How often is looked whether what was refused is permitted now.
const LOOK: Duration = Duration::from_secs(5);

/// Looks at the connections of a node.
pub(super) struct Health {
    pub(super) settings: Arc<Settings>,
    pub(super) permissions: Permissions,
    pub(super) connections: Connections,
}

impl Health {
    /// Why the node cannot do its work now.
    ///
    /// # Errors
    ///
    /// `Transport` without a connection, `Configuration` when the server refuses something.
    pub(super) fn now(&self) -> Result<(), Error> {
        let all = self.connections.all();
        if let Some(lost) = all.iter().find(|connection| !connection.is_connected()) {
            return Err(lost.not_connected());
        }
        let mut refused: Vec<_> = all.iter().flat_map(|connection| self.refused(connection)).collect();
        refused.sort();
        refused.dedup();
        match refused.is_empty() {
            true => Ok(()),
            false => Err(Error::configuration(format!(
                "the NATS server at {} does not permit this node to {}",
                self.settings.address(),
                refused.join(", ")
            ))),
        }
    }

    fn refused(&self, connection: &Connection) -> Vec<String> {
        let refused = connection.refused();
        refused.iter().filter(|refused| self.permissions.needs(refused)).map(ToString::to_string).collect()
    }

    /// Waits until everything is permitted that was refused. The server says nothing of that, and a subscription that it
    /// has ended stays ended: the connection is made anew.
    pub(super) async fn watch(&self, names: Names, node: Registration) {
        loop {
            tokio::time::sleep(LOOK).await;
            let all = self.connections.all();
            if all.iter().all(|connection| self.refused(connection).is_empty()) {
                continue;
            }
            if let Err(error) = check(&self.settings, &names, &node).await {
                tracing::debug!(target: "catga::nats", %error, "not permitted yet");
                continue;
            }
            for connection in all.iter().filter(|connection| !self.refused(connection).is_empty()) {
                // A client that has died is replaced anyhow.
                drop(connection.client().force_reconnect().await);
            }
        }
    }
}
