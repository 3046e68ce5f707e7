//! Storing a message: published until the server has confirmed it, always as the same bytes under the same id.

use std::{sync::Arc, time::Duration};

use async_nats::{
    HeaderMap, Subject,
    header::{NATS_EXPECTED_STREAM, NATS_MESSAGE_ID},
};
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Instant;

use super::{api::Refusal, mux::Mux, puller::DELAY, streams::Streams};
use crate::error::{Error, ErrorKind, Outcome};

/// How long one attempt waits for its confirmation: a server that changes its leader answers none.
const CONFIRMATION: Duration = Duration::from_secs(2);
/// How long a message is offered: well within the window in which the server knows its id.
const OFFERED_FOR: Duration = Duration::from_secs(30);
/// How long a message is offered to a stream that has no room for it: its sender is to know.
const FULL_FOR: Duration = Duration::from_secs(2);
/// The shortest and the longest pause between two attempts.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What is to be stored.
pub(super) struct Parcel {
    pub(super) subject: Subject,
    /// The same id is stored once.
    pub(super) id: String,
    /// When it comes due, if not at once.
    pub(super) delay: Duration,
    pub(super) payload: Bytes,
}

/// Stores messages in one stream.
#[derive(Clone)]
pub(super) struct Store {
    pub(super) mux: Arc<Mux>,
    pub(super) stream: Arc<str>,
    /// Makes the stream anew if it is gone.
    pub(super) streams: Streams,
}

/// The server's answer to a message that is to be stored.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    stream: String,
    #[serde(default)]
    seq: u64,
    error: Option<Refusal>,
}

/// What is to be done about a refusal.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The same message is being stored right now.
    InProcess,
    /// The server has no room, or too much to do.
    Full,
    /// The server is not ready: no leader, or the stream is being made.
    NotReady,
    /// It takes no message of this size.
    TooLarge,
    /// It will never take this.
    Never,
}

impl Refusal {
    /// The codes are those of the server's `errors.json`.
    fn verdict(&self) -> Verdict {
        match self.err_code {
            10_158 => Verdict::InProcess,
            10_167 | 10_077 | 10_023 | 10_008 | 10_047 => Verdict::Full,
            10_054 => Verdict::TooLarge,
            _ if self.code == 503 || self.code == 429 => Verdict::NotReady,
            _ => Verdict::Never,
        }
    }
}

impl Store {
    fn headers(&self, parcel: &Parcel) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, parcel.id.as_str());
        headers.insert(NATS_EXPECTED_STREAM, &*self.stream);
        if !parcel.delay.is_zero() {
            headers.insert(DELAY, parcel.delay.as_millis().max(1).to_string());
        }
        headers
    }

    /// Stores a message and gives its number in the stream.
    ///
    /// # Errors
    ///
    /// `Unknown` if an attempt may have been stored and its confirmation never came; `NotStarted` if all were refused.
    pub(super) async fn put(&self, parcel: &Parcel) -> Result<u64, Error> {
        let started = Instant::now();
        let mut pause = PAUSE.0;
        let mut doubt = false;
        loop {
            let headers = Some(self.headers(parcel));
            let asked = self.mux.ask(&parcel.subject, headers, parcel.payload.clone(), CONFIRMATION);
            let error = match asked.await {
                Ok(message) => match serde_json::from_slice::<Answer>(&message.payload) {
                    Ok(Answer { error: None, stream, seq }) if *stream == *self.stream => return Ok(seq),
                    Ok(Answer { error: Some(refusal), .. }) => {
                        let text = format!(
                            "stream `{}` refuses the message: {} (error {})",
                            self.stream, refusal.description, refusal.err_code
                        );
                        match refusal.verdict() {
                            // An earlier attempt may have been taken.
                            Verdict::Never | Verdict::TooLarge if doubt => {
                                return Err(Error::unknown(ErrorKind::Transport, text));
                            }
                            Verdict::Never => return Err(Error::not_started(ErrorKind::Transport, text)),
                            Verdict::TooLarge => return Err(Error::not_started(ErrorKind::TooLarge, text)),
                            Verdict::InProcess => {
                                doubt = true;
                                Error::unknown(ErrorKind::Transport, text)
                            }
                            Verdict::Full => Error::not_started(ErrorKind::Overloaded, text),
                            Verdict::NotReady => Error::not_started(ErrorKind::Transport, text),
                        }
                    }
                    Ok(Answer { stream, .. }) => {
                        let text = format!("the message was stored in stream `{stream}` instead of `{}`", self.stream);
                        return Err(Error::unknown(ErrorKind::Transport, text));
                    }
                    Err(error) => {
                        doubt = true;
                        Error::unknown(
                            ErrorKind::Transport,
                            format!("the server's confirmation cannot be read: {error}"),
                        )
                    }
                },
                Err(error) => {
                    doubt |= error.outcome() == Outcome::Unknown;
                    if error.kind() == ErrorKind::NotFound
                        && let Err(error) = Box::pin(self.streams.ensure()).await
                    {
                        tracing::warn!(target: "catga::nats", %error, stream = %self.stream, "the stream is not there");
                    }
                    error
                }
            };
            let limit = if error.kind() == ErrorKind::Overloaded { FULL_FOR } else { OFFERED_FOR };
            let hopeless = matches!(error.kind(), ErrorKind::ShuttingDown | ErrorKind::TooLarge);
            if started.elapsed() + pause >= limit || hopeless {
                let outcome = if doubt { Outcome::Unknown } else { error.outcome() };
                return Err(error.with_outcome(outcome));
            }
            tracing::debug!(target: "catga::nats", %error, id = parcel.id, "not stored yet; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart_by_their_code() {
        let verdict = |code, err_code| Refusal { code, err_code, description: String::new() }.verdict();
        assert_eq!(verdict(409, 10_158), Verdict::InProcess);
        assert_eq!(verdict(503, 10_077), Verdict::Full);
        assert_eq!(verdict(503, 10_008), Verdict::Full);
        assert_eq!(verdict(503, 10_118), Verdict::NotReady);
        assert_eq!(verdict(400, 10_054), Verdict::TooLarge);
        assert_eq!(verdict(400, 10_060), Verdict::Never);
    }
}
