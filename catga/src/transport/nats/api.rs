//! Calls of the server's JetStream API.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::mux::Mux;
use crate::error::{Error, ErrorKind, Outcome};

/// How long one call waits for its answer.
const ANSWER: Duration = Duration::from_secs(3);
/// How long a call is repeated that the server is not ready for.
const PATIENCE: Duration = Duration::from_secs(8);
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// Calls the API over one connection.
#[derive(Clone)]
pub(super) struct Api(pub(super) Arc<Mux>);

/// Why the server did not do what it was asked.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    pub(super) code: u16,
    /// By the server's `errors.json`.
    #[serde(default)]
    pub(super) err_code: u32,
    #[serde(default)]
    pub(super) description: String,
}

impl Refusal {
    pub(super) const CONSUMER_NOT_FOUND: u32 = 10_014;
    pub(super) const MESSAGE_NOT_FOUND: u32 = 10_037;
    pub(super) const STREAM_NAME_IN_USE: u32 = 10_058;
    pub(super) const STREAM_NOT_FOUND: u32 = 10_059;

    /// What went wrong, for whoever called.
    pub(super) fn into_error(self, what: &str) -> Error {
        let text = format!("the server refuses `{what}`: {} (error {})", self.description, self.err_code);
        Error::not_started(ErrorKind::Transport, text)
    }

    fn is_passing(&self) -> bool {
        self.code == 503 || self.code == 429
    }
}

/// How a call ended that got no result.
#[derive(Debug)]
pub(super) enum Failed {
    Refused(Refusal),
    Unanswered(Error),
}

impl Failed {
    pub(super) fn is(&self, code: u32) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.err_code == code)
    }

    pub(super) fn into_error(self, what: &str) -> Error {
        match self {
            Self::Refused(refusal) => refusal.into_error(what),
            Self::Unanswered(error) => error,
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    error: Option<Refusal>,
}

impl Api {
    /// Calls, and repeats the call while the server is not ready for it. Every call is one that may be repeated.
    pub(super) async fn call<T: DeserializeOwned>(&self, what: &str, body: &impl Serialize) -> Result<T, Failed> {
        let until = Instant::now() + PATIENCE;
        loop {
            let failed = match self.call_once(what, body).await {
                Ok(result) => return Ok(result),
                Err(failed) => failed,
            };
            let passing = match &failed {
                Failed::Refused(refusal) => refusal.is_passing(),
                // A call that is not allowed is not answered; it never will be.
                Failed::Unanswered(error) => {
                    !self.0.connection().is_refused(&format!("$JS.API.{what}"))
                        && error.kind() != ErrorKind::ShuttingDown
                }
            };
            if !passing || Instant::now() >= until {
                return Err(failed);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn call_once<T: DeserializeOwned>(&self, what: &str, body: &impl Serialize) -> Result<T, Failed> {
        let unreadable = |error: serde_json::Error| {
            let text = format!("the server's answer to `{what}` cannot be read: {error}");
            Failed::Unanswered(Error::new(ErrorKind::Codec, Outcome::Unknown, text))
        };
        let body = serde_json::to_vec(body).map(Bytes::from).map_err(unreadable)?;
        let subject = format!("$JS.API.{what}").into();
        let answer = self.0.ask(&subject, None, body, ANSWER).await.map_err(Failed::Unanswered)?;
        match serde_json::from_slice(&answer.payload).map_err(unreadable)? {
            Answer { error: Some(refusal) } => Err(Failed::Refused(refusal)),
            Answer { error: None } => serde_json::from_slice(&answer.payload).map_err(unreadable),
        }
    }
}
