//! A message on its way: encoded, with everything that travels beside the payload.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    error::{Error, ErrorKind},
    id::{MessageId, now_millis},
    message::Kind,
};

/// The most headers that a message carries.
pub(crate) const MAX_HEADERS: usize = 64;
/// The most bytes that a message's headers take, names and values together.
pub(crate) const MAX_HEADER_BYTES: usize = 8 * 1024;

/// The headers by which a trace goes on.
pub(crate) const TRACE: [&str; 2] = ["traceparent", "tracestate"];

/// What a sender adds to a message, such as a tenant: names and values of text.
///
/// Names are letters, digits, `-`, `_` and `.`; case matters. Values are text without control characters. At most
/// 64 headers and 8 KiB, names and values together.
///
/// `traceparent` and `tracestate` go on by themselves: what a handler sends, publishes or emits has those of the message
/// that it handles, unless it is given others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// No headers.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Sets a header, in place of an earlier value.
    ///
    /// # Errors
    ///
    /// `Configuration` for a name or value that cannot travel, `TooLarge` beyond the limits.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) -> Result<(), Error> {
        let mut changed = self.clone();
        let name = name.into();
        changed.0.retain(|(key, _)| *key != name);
        changed.0.push((name, value.into()));
        changed.check()?;
        *self = changed;
        Ok(())
    }

    /// Names and values, in the order in which they were set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the trace of the message whose handler sends this one, unless it has its own: `traceparent` and `tracestate`, by
    /// [W3C Trace Context](https://www.w3.org/TR/trace-context/).
    pub(crate) fn follow(&mut self, parent: &Self) {
        if self.get(TRACE[0]).is_some() {
            return;
        }
        for name in TRACE {
            if let Some(value) = parent.get(name) {
                // What cannot travel with so many others is left out: the message is as good without it.
                drop(self.insert(name, value));
            }
        }
    }

    /// What has travelled.
    pub(crate) fn arrived(headers: Vec<(String, String)>) -> Result<Self, Error> {
        let headers = Self(headers);
        headers.check().map_err(|error| Error::not_started(ErrorKind::Codec, format!("it cannot be read: {error}")))?;
        Ok(headers)
    }

    /// Checks what is to travel, and what has.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (name, value) in &self.0 {
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
                return Err(Error::configuration(format!(
                    "`{}` is not a header name: use letters, digits, `-`, `_` and `.`",
                    name.escape_debug()
                )));
            }
            if value.chars().any(char::is_control) {
                return Err(Error::configuration(format!(
                    "the value of header `{name}` contains a control character: only text without line breaks can travel"
                )));
            }
        }
        let bytes: usize = self.0.iter().map(|(name, value)| name.len() + value.len()).sum();
        if self.0.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
            return Err(Error::not_started(
                ErrorKind::TooLarge,
                format!(
                    "{} headers of {bytes} bytes are too many: at most {MAX_HEADERS} headers and {MAX_HEADER_BYTES} bytes travel with a message",
                    self.0.len()
                ),
            ));
        }
        Ok(())
    }
}

/// The most bytes of what has a fixed form in a message: ids, times, counts and lengths.
const NUMBERS: usize = 160;

/// A message on its way.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Envelope {
    /// The identity, the same on every attempt.
    pub id: MessageId,
    /// The name of the message type.
    pub name: Arc<str>,
    /// Command, query or event.
    pub kind: Kind,
    /// The node that sent it.
    pub source: Arc<str>,
    /// The id of the message that started the conversation.
    pub correlation: MessageId,
    /// The id of the message whose handler sent this one.
    pub causation: Option<MessageId>,
    /// When it was sent, in milliseconds since 1970 on the sender's clock.
    pub time_ms: u64,
    /// What the sender added.
    pub headers: Headers,
    /// The message itself, encoded.
    pub payload: Bytes,
    /// The sender may have sent this id before: receivers look it up.
    pub repeat: bool,
    /// The number that the sender gave it among its events of QoS 0, from 1; 0 for everything else.
    pub sequence: u64,
    /// Larger at each start of the sender, whose numbers begin again then; 0 where there is no number.
    pub incarnation: u64,
    /// What only requests carry.
    pub request: Option<Box<RequestPart>>,
    /// What only a retry of an event carries.
    pub retry: Option<Box<RetryPart>>,
}

/// What a request carries beside its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPart {
    /// Finds the caller again when the reply arrives; has a meaning only on the node that sent it.
    pub token: u64,
    /// The caller's idempotency key.
    pub key: Option<String>,
    /// What was left to the deadline when it was sent, in milliseconds.
    pub remaining_ms: u64,
    /// The deadline, in milliseconds since 1970 on the sender's clock.
    /// Nothing is decided by it yet: clocks of two machines need not agree.
    pub deadline_ms: u64,
    /// Asks only whether the node is alive.
    pub probe: bool,
}

/// What an event carries that is stored again for a handler that has not finished it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPart {
    /// The handler that remains.
    pub handler: String,
    /// The number of its next run, from 1.
    pub attempt: u32,
    /// How often a delivery of it ended without an answer: it may kill its process.
    pub crashes: u32,
    /// Whether it was stored so just before it was to run alone: if it comes again, it is the one that was running.
    pub declared: bool,
    /// How often it was replayed after it had become a dead letter.
    pub replays: u32,
}

impl Envelope {
    /// A message as its sender makes it: its own conversation, no headers.
    pub fn new(name: Arc<str>, kind: Kind, source: &Arc<str>, payload: Bytes) -> Self {
        let time_ms = now_millis();
        let id = MessageId::minted(time_ms);
        Self {
            id,
            name,
            kind,
            source: source.clone(),
            correlation: id,
            causation: None,
            time_ms,
            headers: Headers::new(),
            payload,
            repeat: false,
            sequence: 0,
            incarnation: 0,
            request: None,
            retry: None,
        }
    }

    /// What its reply is found by; 0 where it is no request, which is nobody's.
    pub(crate) fn token(&self) -> u64 {
        self.request.as_ref().map_or(0, |request| request.token)
    }

    /// How many bytes it takes in a queue or a store, at most.
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        let key = self.request.as_ref().and_then(|request| request.key.as_ref()).map_or(0, String::len);
        let handler = self.retry.as_ref().map_or(0, |retry| retry.handler.len());
        self.payload.len() + self.name.len() + self.source.len() + headers + key + handler + NUMBERS
    }
}

/// A node's answer to a request.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reply {
    /// The token of the request.
    pub token: u64,
    /// The encoded response, or why there is none.
    pub result: Result<Bytes, Error>,
}

impl Reply {
    /// An answer to the request with this token.
    pub fn new(token: u64, result: Result<Bytes, Error>) -> Self {
        Self { token, result }
    }
}
