//! What a caller is told when a message could not be sent, handled or stored.
//!
//! [`Error`] is the one error type of the interface: a [kind](ErrorKind) says what happened, an [outcome](Outcome) says
//! whether the work may have been done. [`Failure`] is what a handler answers when it refuses or fails.

use std::{borrow::Cow, error::Error as StdError, fmt};

use serde::{Deserialize, Serialize};

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nothing in this process and no known node handles the message.
    NoHandler,
    /// A queue or a limit is full; the message was refused.
    Overloaded,
    /// The deadline passed, or the handler ran longer than its time-out.
    TimedOut,
    /// The idempotency key belongs to a request with other content.
    KeyReused,
    /// The handler answered with a [`Failure`], or panicked.
    Handler,
    /// The message or its reply could not be encoded or decoded.
    Codec,
    /// The message or its headers are larger than a limit.
    TooLarge,
    /// The transport could not take or carry the message.
    Transport,
    /// This node takes no further work.
    ShuttingDown,
    /// The application is wired wrongly, or a name or setting is not valid.
    Configuration,
    /// What was asked for does not exist, such as a dead letter.
    NotFound,
    /// Another node took this node's id, and this one has ended.
    Replaced,
}

/// Whether the work behind a failed call was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// It was certainly not started: sending again is safe.
    NotStarted,
    /// It may have been done, wholly or in part: ask, or send again under the same key.
    Unknown,
    /// It was started and ended in failure.
    Failed,
}

/// The error of every fallible call of this crate.
///
/// ```
/// use catga::{Error, ErrorKind, Outcome};
///
/// fn may_send_again(error: &Error) -> bool {
///     error.outcome() == Outcome::NotStarted || error.kind() == ErrorKind::Overloaded
/// }
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    outcome: Outcome,
    /// What happened and what to do next, for a person.
    message: String,
    /// The handler's own answer, for `ErrorKind::Handler`.
    failure: Option<Failure>,
    /// How many messages of a batch were stored before this error.
    stored: Option<usize>,
    source: Option<BoxError>,
}

/// Any error that can cross threads.
pub type BoxError = Box<dyn StdError + Send + Sync>;

impl Error {
    /// Makes an error; transports use it to report what they met.
    pub fn new(kind: ErrorKind, outcome: Outcome, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, outcome, message: message.into(), failure: None, stored: None, source: None }))
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the work was done.
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// What the handler answered, if one did.
    pub fn failure(&self) -> Option<&Failure> {
        self.0.failure.as_ref()
    }

    /// How many events were stored before this one stopped a [`publish_all`](crate::Mediator::publish_all).
    pub fn stored(&self) -> Option<usize> {
        self.0.stored
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn with_stored(mut self, stored: usize) -> Self {
        self.0.stored = Some(stored);
        self
    }

    pub(crate) fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.0.outcome = outcome;
        self
    }

    /// The answer of a handler, as an error of the call.
    pub(crate) fn handler(handler: &str, failure: Failure) -> Self {
        let mut error =
            Self::new(ErrorKind::Handler, Outcome::Failed, format!("handler `{handler}` answered {failure}"));
        error.0.failure = Some(failure);
        error
    }

    pub(crate) fn not_started(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::new(kind, Outcome::NotStarted, message)
    }

    pub(crate) fn unknown(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::new(kind, Outcome::Unknown, message)
    }

    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self::not_started(ErrorKind::Configuration, message)
    }

    /// Of a node that a test has killed.
    pub(crate) fn killed() -> Self {
        Self::unknown(ErrorKind::ShuttingDown, "this node was killed")
    }

    pub(crate) fn shutting_down() -> Self {
        Self::not_started(ErrorKind::ShuttingDown, "this node is shutting down and takes no further work")
    }

    pub(crate) fn replaced(node: &str) -> Self {
        let text =
            format!("another node took the id `{node}`, and this one has ended: give each node an id of its own");
        Self::not_started(ErrorKind::Replaced, text)
    }

    pub(crate) fn encode(name: &str, error: serde_json::Error) -> Self {
        Self::not_started(ErrorKind::Codec, format!("`{name}` cannot be encoded: {error}")).with_source(error)
    }

    pub(crate) fn decode(name: &str, error: serde_json::Error) -> Self {
        Self::not_started(ErrorKind::Codec, format!("`{name}` cannot be decoded: {error}")).with_source(error)
    }

    /// The same error for another caller that waits for the same thing.
    pub(crate) fn duplicate(&self) -> Self {
        self.to_remote().into()
    }

    /// The parts that travel back to a remote caller.
    pub(crate) fn to_remote(&self) -> RemoteError {
        RemoteError {
            kind: self.0.kind,
            outcome: self.0.outcome,
            message: self.0.message.clone(),
            failure: self.0.failure.clone(),
        }
    }
}

/// An error as it crosses from the node that handled a request to the one that asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RemoteError {
    kind: ErrorKind,
    outcome: Outcome,
    message: String,
    failure: Option<Failure>,
}

impl From<RemoteError> for Error {
    fn from(remote: RemoteError) -> Self {
        let mut error = Self::new(remote.kind, remote.outcome, remote.message);
        error.0.failure = remote.failure;
        error
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `main` prints the error that it returns with `Debug`: the text must stay readable.
        write!(f, "{:?} ({:?}): {}", self.0.kind, self.0.outcome, self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Whether a failure is worth another attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retry {
    /// Not marked: an event is tried again, a request is not.
    #[default]
    Unmarked,
    /// Another attempt may succeed.
    Transient,
    /// No attempt can succeed.
    Permanent,
}

/// What a handler answers when it refuses or fails: a code for programs, a message for people, details for both.
///
/// Any `std::error::Error` becomes one with the code `error`.
///
/// ```
/// use catga::Failure;
///
/// let failure = Failure::new("out_of_stock", "no tea left").details("tea").permanent();
/// assert_eq!(failure.code(), "out_of_stock");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    code: Cow<'static, str>,
    message: String,
    /// JSON text, so that it crosses the wire as it is.
    details: Option<String>,
    retry: Retry,
}

impl Failure {
    /// A failure with a code for programs, such as `out_of_stock`, and a message for people.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), details: None, retry: Retry::Unmarked }
    }

    /// Adds structured details; what cannot be written as JSON is left out.
    #[must_use]
    pub fn details(mut self, value: impl Serialize) -> Self {
        self.details = serde_json::to_string(&value).ok();
        self
    }

    /// Marks the failure as worth another attempt.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.retry = Retry::Transient;
        self
    }

    /// Marks the failure as final: no attempt is made after it.
    #[must_use]
    pub fn permanent(mut self) -> Self {
        self.retry = Retry::Permanent;
        self
    }

    /// The code for programs.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The message for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The details, if there are any and they have this type.
    pub fn details_as<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.details.as_deref()?).ok()
    }

    /// Whether another attempt is worth it.
    pub fn retry(&self) -> Retry {
        self.retry
    }

    /// The same failure, its texts cut at so many bytes; details cannot be cut and are left out.
    pub(crate) fn bounded(&self, limit: usize) -> Self {
        let cut = |text: &str| text[..text.floor_char_boundary(limit)].to_owned();
        Self {
            code: cut(&self.code).into(),
            message: cut(&self.message),
            details: self.details.clone().filter(|details| details.len() <= limit),
            retry: self.retry,
        }
    }

    /// How many bytes its texts take.
    pub(crate) fn size(&self) -> usize {
        self.code.len() + self.message.len() + self.details.as_ref().map_or(0, String::len)
    }

    /// The failure that stands for a panic.
    pub(crate) fn panicked(payload: &(dyn std::any::Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("a value that is not text");
        Self::new("panic", format!("the handler panicked: {text}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.code, self.message)
    }
}

/// `?` turns any error into a failure, in a handler that returns `Result<_, Failure>`.
impl<E: StdError + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        error.into_failure()
    }
}

/// What can stand in the `Err` of a handler: every `std::error::Error`, and [`Failure`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a handler",
    label = "not an error",
    note = "implement `std::error::Error` for `{Self}`, for example with `#[derive(thiserror::Error)]`",
    note = "or return `Result<_, catga::Failure>`: `?` makes one of any error, `Failure::new(code, message)` of a text"
)]
pub trait IntoFailure {
    /// The failure that the caller is told.
    fn into_failure(self) -> Failure;
}

impl IntoFailure for Failure {
    fn into_failure(self) -> Failure {
        self
    }
}

#[diagnostic::do_not_recommend]
impl<E: StdError + 'static> IntoFailure for E {
    fn into_failure(self) -> Failure {
        if let Some(error) = (&self as &dyn std::any::Any).downcast_ref::<Error>() {
            return error.as_failure();
        }
        let mut message = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = cause.source();
        }
        Failure::new("error", message)
    }
}

impl Error {
    /// How a handler passes on the error of a call that it made: the inner answer is kept, and what did not start may
    /// be tried again.
    pub(crate) fn as_failure(&self) -> Failure {
        if let Some(failure) = &self.0.failure
            // A panic belongs to the handler that panicked: for whoever asked it, it is an error like another.
            && failure.code() != "panic"
        {
            return failure.clone();
        }
        let failure = Failure::new("error", self.0.message.clone());
        match (self.0.kind, self.0.outcome) {
            (ErrorKind::Overloaded | ErrorKind::Transport | ErrorKind::ShuttingDown | ErrorKind::Replaced, _)
            | (ErrorKind::NoHandler | ErrorKind::TimedOut, Outcome::NotStarted) => failure.transient(),
            _ => failure,
        }
    }
}
