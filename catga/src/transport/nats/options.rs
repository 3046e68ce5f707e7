//! How to reach the servers and prove who one is.

use std::{sync::Arc, time::Duration};

use async_nats::{Client, ConnectOptions, Event, ServerAddr};

use crate::error::{Error, ErrorKind};

/// How long connecting may take before it is an error.
const CONNECT_LIMIT: Duration = Duration::from_secs(8);

/// How to reach the servers.
pub(super) struct Settings {
    servers: Vec<ServerAddr>,
    user: Option<(String, String)>,
}

impl Settings {
    pub(super) fn of_url(url: &str) -> Result<Self, Error> {
        let server: ServerAddr = url.parse().map_err(|error| {
            Error::configuration(format!("this is not the address of a NATS server: {error}")).with_source(error)
        })?;
        let user = server
            .username()
            .filter(|name| !name.is_empty())
            .map(|name| (name.to_owned(), server.password().unwrap_or_default().to_owned()));
        Ok(Self { servers: vec![server], user })
    }

    /// The servers, for people: without credentials.
    pub(super) fn address(&self) -> String {
        let shown = self.servers.iter().map(|server| format!("{}:{}", server.host(), server.port()));
        shown.collect::<Vec<_>>().join(", ")
    }

    /// Connects a client under this name.
    pub(super) async fn connect(
        &self,
        name: &str,
        inbox: &str,
        listener: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Client, Error> {
        let listener = Arc::new(listener);
        let mut options = ConnectOptions::new()
            .name(name)
            .custom_inbox_prefix(inbox)
            .no_echo()
            .ping_interval(Duration::from_secs(10))
            .connection_timeout(Duration::from_secs(3))
            .client_capacity(4_096)
            .event_callback(move |event| {
                listener(event);
                std::future::ready(())
            });
        if let Some((user, password)) = &self.user {
            options = options.user_and_password(user.clone(), password.clone());
        }
        match tokio::time::timeout(CONNECT_LIMIT, options.connect(&self.servers[..])).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => {
                let text = format!("no connection to the NATS server at {}: {error}", self.address());
                Err(Error::not_started(ErrorKind::Transport, text).with_source(error))
            }
            Err(_) => {
                let text = format!("the NATS server at {} did not answer within {CONNECT_LIMIT:?}", self.address());
                Err(Error::not_started(ErrorKind::Transport, text))
            }
        }
    }
}
