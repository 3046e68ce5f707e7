//! Messages: commands, queries and events, and the one trait behind them.
//!
//! The derives implement these traits; a program names them in bounds only.

use std::{
    any::{Any, TypeId},
    fmt,
    panic::Location,
    sync::atomic::{AtomicU32, Ordering},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{codec, error::Error};

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Asks one handler to do something.
    Command,
    /// Asks one handler for something and changes nothing.
    Query,
    /// Tells any number of handlers that something happened.
    Event,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Command => "command",
            Self::Query => "query",
            Self::Event => "event",
        })
    }
}

/// The quality of service of a message type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Qos {
    /// At most once: QoS 0.
    AtMostOnce,
    /// At least once: QoS 1.
    AtLeastOnce,
}

/// A message: one type, one name on the wire, one quality of service.
///
/// Derive [`Command`](derive@crate::Command), [`Query`](derive@crate::Query) or [`Event`](derive@crate::Event) instead
/// of implementing it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a catga message",
    label = "expected a command, a query or an event",
    note = "derive one of `Command`, `Query` or `Event` for `{Self}`"
)]
pub trait Message: Cloneable + Send + Sync + Serialize + DeserializeOwned + 'static {
    /// The name on the wire: `<package>.<Type>` unless `#[catga(name = "..")]` says otherwise.
    const NAME: &'static str;
    /// Command, query or event.
    const KIND: Kind;
    /// The quality of service.
    const QOS: Qos;
    /// The most messages of this type that share a delivery; 0 leaves it to the transport.
    const FRAME: usize = 0;
    /// What a handler answers: the response of a request, `()` for an event.
    type Reply: Send + Sync + Serialize + DeserializeOwned + 'static;

    /// `AsCommand`, `AsQuery` or `AsEvent`: the kind again, as a type that bounds can ask for.
    #[doc(hidden)]
    type Mark;

    /// The place of this type in the tables of a process.
    #[doc(hidden)]
    fn slot() -> &'static Slot;
}

/// `Clone`, with a text that says why a message needs it.
///
/// It has no supertrait: a missing `Clone` would be reported for that instead, in words that say less. A message of a
/// type parameter is cloned by this `clone`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` must be `Clone`: a second handler or a retry gets a copy",
    label = "not `Clone`",
    note = "add `Clone` to its derives"
)]
pub trait Cloneable: Sized {
    #[must_use]
    fn clone(&self) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Clone> Cloneable for T {
    fn clone(&self) -> Self {
        T::clone(self)
    }
}

/// What a handler answers, in short.
pub(crate) trait Reply: Send + Sync + Serialize + DeserializeOwned + 'static {}

impl<T: Send + Sync + Serialize + DeserializeOwned + 'static> Reply for T {}

/// A message in the hands of its sender, whatever its type: an `Option` of it, which the handler that gets it takes.
///
/// What becomes of a message on its way is written for this, and not compiled for each type that a program sends.
pub(crate) trait AnyMessage: Any + Send + Sync {
    /// The name on the wire.
    fn name(&self) -> &'static str;
    /// The number of the type.
    fn index(&self) -> usize;
    fn encode(&self) -> Result<Bytes, Error>;
}

impl<M: Message> AnyMessage for Option<M> {
    fn name(&self) -> &'static str {
        M::NAME
    }

    fn index(&self) -> usize {
        M::slot().index()
    }

    fn encode(&self) -> Result<Bytes, Error> {
        codec::encode(M::NAME, self)
    }
}

// A derive implements `Message` alone, and what is below follows from its mark: a missing `Clone` or a second derive is
// then one error and not one for each trait.
#[doc(hidden)]
#[derive(Debug)]
pub enum AsCommand {}
#[doc(hidden)]
#[derive(Debug)]
pub enum AsQuery {}
#[doc(hidden)]
#[derive(Debug)]
pub enum AsEvent {}

#[doc(hidden)]
pub trait IsRequest {}
impl IsRequest for AsCommand {}
impl IsRequest for AsQuery {}

/// A command or a query: a message that one handler answers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent, because it is not a command or a query",
    label = "not a command or a query",
    note = "`send` waits for one reply; if `{Self}` is an event, announce it with `publish`"
)]
pub trait Request: Message<Reply = Self::Response> {
    /// What the handler answers.
    type Response: Send + Sync + Serialize + DeserializeOwned + 'static;
}

#[diagnostic::do_not_recommend]
impl<M: Message<Mark: IsRequest>> Request for M {
    type Response = M::Reply;
}

/// A message that asks one handler to do something.
pub trait Command: Request {}

#[diagnostic::do_not_recommend]
impl<M: Request<Mark = AsCommand>> Command for M {}

/// A message that asks one handler for something and changes nothing.
pub trait Query: Request {}

#[diagnostic::do_not_recommend]
impl<M: Request<Mark = AsQuery>> Query for M {}

/// A message that tells any number of handlers that something happened.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be published, because it is not an event",
    label = "not an event",
    note = "a command goes to exactly one handler: use `send`"
)]
pub trait Event: Message<Reply = ()> {}

#[diagnostic::do_not_recommend]
impl<M: Message<Reply = (), Mark = AsEvent>> Event for M {}

/// Where something stands in the source.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: &'static str,
    pub line: u32,
}

impl Place {
    /// Where this is called: in an expansion, where the user's name stands that the call's span is taken from.
    #[track_caller]
    pub const fn here() -> Self {
        let caller = Location::caller();
        Self { file: caller.file(), line: caller.line() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// The number of a message type in this process, so that the hot path indexes a table instead of hashing a name.
#[doc(hidden)]
#[derive(Debug)]
pub struct Slot(AtomicU32);

/// The next free number; 0 means "none yet" in a slot.
static NEXT: AtomicU32 = AtomicU32::new(1);

impl Slot {
    #[expect(clippy::new_without_default, reason = "a slot is a static")]
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// The number, assigned at the first call.
    pub(crate) fn index(&self) -> usize {
        match self.0.load(Ordering::Relaxed) {
            0 => self.assign(),
            index => index as usize,
        }
    }

    #[cold]
    fn assign(&self) -> usize {
        let fresh = NEXT.fetch_add(1, Ordering::Relaxed);
        // Two threads may race: the first one's number stands, the other's stays unused.
        match self.0.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => fresh as usize,
            Err(first) => first as usize,
        }
    }
}

/// What the process knows of a message type.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct MessageInfo {
    pub name: &'static str,
    pub kind: Kind,
    pub qos: Qos,
    pub frame: usize,
    pub type_id: fn() -> TypeId,
    pub type_name: fn() -> &'static str,
    pub slot: fn() -> &'static Slot,
}

impl MessageInfo {
    pub const fn of<M: Message>() -> Self {
        Self {
            name: M::NAME,
            kind: M::KIND,
            qos: M::QOS,
            frame: M::FRAME,
            type_id: TypeId::of::<M>,
            type_name: std::any::type_name::<M>,
            slot: M::slot,
        }
    }

    /// `reliable event`, `event`, `command` or `query`.
    pub(crate) fn described(&self) -> &'static str {
        match (self.kind, self.qos) {
            (Kind::Command, _) => "command",
            (Kind::Query, _) => "query",
            (Kind::Event, Qos::AtMostOnce) => "event",
            (Kind::Event, Qos::AtLeastOnce) => "reliable event",
        }
    }
}
