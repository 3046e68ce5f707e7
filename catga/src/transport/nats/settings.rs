//! Connects a client, and says why there is none.

use std::{error::Error as StdError, io, path::PathBuf, sync::Arc, time::Duration};

use async_nats::{AuthError, Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr, rustls};

use super::{credentials::Credentials, names::Names};
use crate::error::{Error, ErrorKind};

/// How long connecting may take before it is an error.
const CONNECT_LIMIT: Duration = Duration::from_secs(8);
/// How long one server may take.
const ONE_SERVER: Duration = Duration::from_secs(3);

/// How to reach the servers.
pub(super) struct Settings {
    /// Without credentials: the client shows them in its log.
    pub(super) servers: Vec<ServerAddr>,
    pub(super) credentials: Option<Arc<Credentials>>,
    pub(super) tls: Tls,
    /// What the names of connections begin with.
    pub(super) name: String,
    pub(super) inbox: Option<String>,
}

/// What is asked of TLS.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tls {
    pub(super) required: bool,
    /// TLS begins before the server has said anything.
    pub(super) first: bool,
    /// Files with trusted certificates; none for those of the system.
    pub(super) roots: Vec<PathBuf>,
    /// Files with the certificate of this client, and its key.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

impl Settings {
    /// The servers, for people: without credentials.
    pub(super) fn address(&self) -> String {
        let shown = self.servers.iter().map(|server| match server.host() {
            host if host.contains(':') => format!("[{host}]:{}", server.port()),
            host => format!("{host}:{}", server.port()),
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// What the inboxes of an application's nodes begin with.
    pub(super) fn inbox(&self, names: &Names) -> String {
        self.inbox.clone().unwrap_or_else(|| names.inbox())
    }

    /// Connects a client under this name.
    pub(super) async fn connect(
        &self,
        name: &str,
        inbox: &str,
        listener: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Client, Error> {
        match tokio::time::timeout(CONNECT_LIMIT, self.options(name, inbox, listener).connect(&self.servers[..])).await
        {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(self.describe(error)),
            Err(_) => {
                let text = format!("the NATS server at {} did not answer within {CONNECT_LIMIT:?}", self.address());
                Err(Error::not_started(ErrorKind::Transport, text))
            }
        }
    }

    fn options(&self, name: &str, inbox: &str, listener: impl Fn(Event) + Send + Sync + 'static) -> ConnectOptions {
        let listener = Arc::new(listener);
        let mut options = match self.credentials.clone() {
            None => ConnectOptions::new(),
            Some(credentials) => ConnectOptions::with_auth_callback(move |nonce| {
                let credentials = credentials.clone();
                // They may have to be read from a file.
                let proof = tokio::task::spawn_blocking(move || credentials.prove(&nonce));
                async { proof.await.map_err(AuthError::new)?.map_err(AuthError::new) }
            }),
        };
        options = options
            .name(name)
            .custom_inbox_prefix(inbox)
            .no_echo()
            .ping_interval(Duration::from_secs(10))
            .connection_timeout(ONE_SERVER)
            .client_capacity(4_096)
            .require_tls(self.tls.required)
            .event_callback(move |event| {
                listener(event);
                std::future::ready(())
            });
        for roots in &self.tls.roots {
            options = options.add_root_certificates(roots.clone());
        }
        if let Some((certificate, key)) = &self.tls.client {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        if self.tls.first { options.tls_first() } else { options }
    }

    /// Why there is no client, and what to do.
    fn describe(&self, error: ConnectError) -> Error {
        let at = self.address();
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        let of_tls = error.kind() == ConnectErrorKind::Tls || is_of_tls(&error);
        let (kind, text) = match error.kind() {
            ConnectErrorKind::AuthorizationViolation => {
                let what =
                    self.credentials.as_ref().map_or("a client without credentials".to_owned(), |it| it.to_string());
                (ErrorKind::Configuration, format!("the NATS server at {at} refuses {what}"))
            }
            ConnectErrorKind::Authentication => (
                ErrorKind::Configuration,
                format!("the credentials for the NATS server at {at} cannot be used: {cause}"),
            ),
            _ if of_tls => {
                let text = format!("there is no TLS with the NATS server at {at} under these options: {cause}");
                (ErrorKind::Configuration, text)
            }
            ConnectErrorKind::Dns => (ErrorKind::Transport, format!("{at} is not found: {cause}")),
            _ if cause_of(&error).is_none() => {
                let text = format!(
                    "what listens at {at} does not greet as a NATS server does; one with `handshake_first` needs \
                     `.tls_first()`"
                );
                (ErrorKind::Transport, text)
            }
            _ => (ErrorKind::Transport, format!("there is no connection to a NATS server at {at}: {cause}")),
        };
        Error::not_started(kind, text).with_source(error)
    }
}

/// What broke, if it was the network.
fn cause_of(error: &ConnectError) -> Option<&io::Error> {
    error.source()?.downcast_ref()
}

/// Whether the two sides did not agree on TLS, which the client reports like a connection that breaks.
fn is_of_tls(error: &ConnectError) -> bool {
    cause_of(error).and_then(io::Error::get_ref).is_some_and(|inner| inner.is::<rustls::Error>())
}
