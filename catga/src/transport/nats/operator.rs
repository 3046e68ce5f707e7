//! A way to an application's store for a tool that is no node of it.

use std::sync::{Arc, atomic::AtomicU64};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Nats,
    api::{Api, Refusal},
    check_server,
    connection::Connection,
    dead::DeadLetters,
    health::Health,
    idle::Idle,
    link::{Connections, NatsLink},
    mux::Mux,
    names::{Names, StreamKind},
    permissions::Permissions,
    store::Store,
    streams::{Streams, stream_name},
};
use crate::{
    error::{Error, ErrorKind},
    id::is_name,
    transport::Link,
};

impl Nats {
    /// A link that joins nothing: it makes no stream and no consumer, and receives nothing but answers.
    ///
    /// # Errors
    ///
    /// `NotFound` if no node of this application has ever joined on this server.
    pub(crate) async fn operator(&self, app: &str) -> Result<Arc<dyn Link>, Error> {
        let names = names_of(app)?;
        let closing = CancellationToken::new();
        let guard = closing.clone().drop_guard();
        let (name, inbox) = (format!("{}/{app}/operator", self.settings.name), self.settings.inbox(&names));
        let connection = Connection::open(self.settings.clone(), name, inbox.clone(), closing.clone()).await?;
        let server = connection.client().server_info();
        check_server(&server)?;
        let mux = Mux::open(connection.clone(), closing.clone()).await?;
        let api = Api(mux.clone());
        let clustered = server.cluster.is_some();
        let streams = Streams { api: api.clone(), names: names.clone(), bounds: self.bounds.clone(), clustered };
        streams.info(StreamKind::Dead).await.map_err(|failed| match failed.is(Refusal::STREAM_NOT_FOUND) {
            true => Error::not_started(
                ErrorKind::NotFound,
                format!("there is no application `{app}` on this server: no node of it has ever joined"),
            ),
            false => failed.into_error("STREAM.INFO"),
        })?;
        let store = |kind| Store { mux: mux.clone(), stream: stream_name(&names, kind), streams: streams.clone() };
        let connections = Connections {
            control: connection.clone(),
            events: connection.clone(),
            store: connection.clone(),
            work: connection,
        };
        // What it would tell of is requests to nodes, and a tool sends none.
        let (sent, _) = mpsc::channel(1);
        Ok(Arc::new(NatsLink {
            events: store(StreamKind::Events),
            dead: store(StreamKind::Dead),
            letters: DeadLetters { api, names: names.clone() },
            health: Arc::new(Health {
                settings: self.settings.clone(),
                permissions: Permissions::new(&names, &inbox),
                connections: connections.clone(),
            }),
            names,
            connections,
            streams,
            durables: Vec::new(),
            sent,
            frames: AtomicU64::new(0),
            nobody: String::new(),
            idle: Idle::new(),
            places: ArcSwap::default(),
            receivers: TaskTracker::new(),
            strangers: TaskTracker::new(),
            requests: mpsc::channel(1).0,
            withdrawn: CancellationToken::new(),
            closing: guard.disarm(),
        }))
    }
}

/// The names of an application, if this can be one.
pub(super) fn names_of(app: &str) -> Result<Names, Error> {
    match is_name(app) {
        true => Ok(Names::new(app)),
        false => Err(Error::configuration(format!(
            "`{}` is not the name of an application: use at most 64 letters, digits, `-`, `_` and `.`",
            app.escape_debug()
        ))),
    }
}
