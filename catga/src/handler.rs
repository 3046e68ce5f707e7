//! Handlers: what the attribute registers, and what `build()` makes of it.
//!
//! A program may have a thousand messages and handlers, and few types of replies: what can be written for a reply, or for
//! no type at all, is not written for a message, so that it is compiled once.

use std::{
    any::{Any, TypeId},
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use serde::Serialize;

use crate::{
    codec,
    context::Run,
    error::{Error, Failure, IntoFailure},
    extract::{Extractors, Missing, RunHandle, States},
    message::{Message, MessageInfo, Place},
};

/// What `#[handler(..)]` says; `None` leaves it to the builder.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct HandlerOptions {
    /// One node of the group handles each event, instead of every node.
    pub group: Option<&'static str>,
    /// All runs, the first included.
    pub attempts: Option<u32>,
    /// The delay before the second run.
    pub backoff: Option<Duration>,
    /// For each run.
    pub timeout: Option<Duration>,
    /// Runs at the same time on a node.
    pub concurrency: Option<u32>,
}

impl HandlerOptions {
    pub const DEFAULT: Self = Self { group: None, attempts: None, backoff: None, timeout: None, concurrency: None };
}

/// A handler as it was written: what `#[handler]` leaves for `build()` to find.
#[doc(hidden)]
pub struct HandlerRegistration {
    /// `<package>.<function>`, `<package>.<Type>.<method>` or the given name.
    pub name: &'static str,
    pub place: Place,
    pub options: HandlerOptions,
    pub message: MessageInfo,
    /// The type of the function, which tells it from every other.
    pub identity: fn() -> TypeId,
    pub bind: fn(&States) -> Result<Bound, Vec<Missing>>,
}

/// The type of a function item.
#[doc(hidden)]
pub fn identity_of<F: 'static>(_: &F) -> TypeId {
    TypeId::of::<F>()
}

/// A handler with its state, of whatever message.
#[doc(hidden)]
pub struct Bound {
    /// For callers that do not know the reply.
    pub(crate) erased: Arc<dyn ErasedHandler>,
    /// A `Typed<R>`, for callers that want the reply.
    pub(crate) typed: Box<dyn Any + Send + Sync>,
}

/// A handler with its state, for callers that want its reply.
pub(crate) struct Typed<R>(pub(crate) Arc<dyn Start<R>>);

/// A message that was decoded or kept: an `Option` of its type, out of which a run takes it or a copy.
pub(crate) type Unpacked = Box<dyn Any + Send + Sync>;

/// How a run is given its message.
pub(crate) enum Given<'a> {
    /// An `Option` of it, to take it out.
    Taken(&'a mut dyn Any),
    /// An `Option` of it, to copy.
    Copied(&'a dyn Any),
    Encoded(&'a [u8]),
}

/// Starts runs of one handler.
pub(crate) trait Start<R>: Send + Sync {
    /// Makes the future of one run; nothing happens before it is polled, but that the message is decoded and the parameters
    /// are extracted. An error is one of decoding.
    fn start(&self, message: Given<'_>, run: &mut Run<'_>) -> Result<Running<R>, Error>;
    /// A message of the handler's type in a box of its own.
    fn unpack(&self, message: Given<'_>) -> Result<Unpacked, Error>;
    /// The name of the message type.
    fn message(&self) -> &'static str;
}

impl<R> dyn Start<R> {
    /// A message that is not encoded, for keeps. Only decoding fails.
    pub(crate) fn keep(&self, message: Given<'_>) -> Unpacked {
        self.unpack(message).unwrap_or_else(|_| Box::new(()))
    }
}

/// One run of one handler: a future.
pub(crate) struct Running<R>(Pin<Box<dyn Answering<R> + Send>>);

/// A future of what a handler may return. It is not wrapped in one of the reply: that would be compiled for each handler.
trait Answering<R> {
    fn poll_reply(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Result<R, Failure>>;
}

impl<R, F: Future<Output: IntoReply<R>>> Answering<R> for F {
    fn poll_reply(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Result<R, Failure>> {
        self.poll(cx).map(IntoReply::into_reply)
    }
}

impl<R> Running<R> {
    pub(crate) fn new(future: impl Future<Output: IntoReply<R>> + Send + 'static) -> Self {
        Self(Box::pin(future))
    }

    /// What is left of a run that is over; not to be polled. It takes no memory.
    pub(crate) fn over() -> Self
    where
        R: Send + 'static,
    {
        Self::new(std::future::pending::<Result<R, Failure>>())
    }
}

impl<R> Future for Running<R> {
    type Output = Result<R, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll_reply(cx)
    }
}

/// A handler for callers that do not know its reply.
pub(crate) trait ErasedHandler: Send + Sync {
    /// Reads a message of the handler's type.
    fn decode(&self, payload: &[u8]) -> Result<Unpacked, Error>;
    /// Runs with a message and encodes the reply.
    fn start_any(&self, message: Given<'_>, run: &mut Run<'_>) -> Result<Running<Bytes>, Error>;
    /// Runs with an event.
    fn start_event(&self, message: Given<'_>, run: &mut Run<'_>) -> Result<Running<()>, Error>;
    /// Runs with a message and gives its reply, not encoded: the form that layers see.
    fn start_boxed(&self, message: Unpacked, run: &mut Run<'_>) -> Running<Box<dyn Any + Send>>;
    /// Puts something around this handler: `start_boxed` of the given handler stands for its own.
    fn layered(&self, around: Arc<dyn StartBoxed>) -> Bound;
}

/// Starts runs whose message and reply are boxed: what is left of a handler behind layers.
pub(crate) trait StartBoxed: Send + Sync {
    fn start_boxed(&self, message: Unpacked, run: &mut Run<'_>) -> Running<Box<dyn Any + Send>>;
}

/// What a handler may return: the reply itself, or `Result<Reply, E>`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "the return type of this handler does not fit its message",
    label = "expected `{Reply}` or `Result<{Reply}, E>`, found `{Self}`"
)]
pub trait IntoReply<Reply> {
    fn into_reply(self) -> Result<Reply, Failure>;
}

impl<Reply> IntoReply<Reply> for Reply {
    fn into_reply(self) -> Result<Reply, Failure> {
        Ok(self)
    }
}

impl<Reply, E: IntoFailure> IntoReply<Reply> for Result<Reply, E> {
    fn into_reply(self) -> Result<Reply, Failure> {
        self.map_err(IntoFailure::into_failure)
    }
}

/// Joins a function with its message and its parameters; the attribute calls it.
#[doc(hidden)]
pub fn bind<M, Args, F, Fut>(states: &States, function: F) -> Result<Bound, Vec<Missing>>
where
    M: Message,
    Args: Extractors,
    F: Fn(M, Args) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoReply<M::Reply>> + Send + 'static,
{
    let parts = Args::resolve(states)?;
    let marker = std::marker::PhantomData::<fn() -> (M, Args)>;
    Ok(Bound::of(Arc::new(FunctionHandler { function, parts, marker })))
}

impl Bound {
    fn of<R: Serialize + Send + 'static>(typed: Arc<dyn Start<R>>) -> Self {
        Self { erased: Arc::new(Typed(typed.clone())), typed: Box::new(Typed(typed)) }
    }
}

struct FunctionHandler<M, Args: Extractors, F> {
    function: F,
    parts: Args::Parts,
    marker: std::marker::PhantomData<fn() -> (M, Args)>,
}

impl<M, Args, F, Fut> Start<M::Reply> for FunctionHandler<M, Args, F>
where
    M: Message,
    Args: Extractors,
    F: Fn(M, Args) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoReply<M::Reply>> + Send + 'static,
{
    fn start(&self, message: Given<'_>, run: &mut Run<'_>) -> Result<Running<M::Reply>, Error> {
        let Some(message) = message.take::<M>()? else { return Ok(failed(wrong_type(M::NAME))) };
        Ok(match Args::extract(&self.parts, &mut RunHandle(run)) {
            Ok(args) => Running::new((self.function)(message, args)),
            Err(failure) => failed(failure),
        })
    }

    fn unpack(&self, message: Given<'_>) -> Result<Unpacked, Error> {
        Ok(Box::new(message.take::<M>()?))
    }

    fn message(&self) -> &'static str {
        M::NAME
    }
}

impl Given<'_> {
    /// The message itself, if it is of this type. Hot, and moves it once only where it is inlined; matches, because closures
    /// would be compiled for each type, too.
    #[inline(always)]
    fn take<M: Message>(self) -> Result<Option<M>, Error> {
        match self {
            Self::Taken(message) => match message.downcast_mut::<Option<M>>() {
                Some(message) => Ok(message.take()),
                None => Ok(None),
            },
            Self::Copied(message) => match message.downcast_ref::<Option<M>>() {
                Some(Some(message)) => Ok(Some(M::clone(message))),
                _ => Ok(None),
            },
            Self::Encoded(payload) => match codec::decode_isolated(M::NAME, payload) {
                Ok(message) => Ok(Some(message)),
                Err(error) => Err(error),
            },
        }
    }
}

impl<R: Serialize + Send + 'static> ErasedHandler for Typed<R> {
    fn decode(&self, payload: &[u8]) -> Result<Unpacked, Error> {
        self.0.unpack(Given::Encoded(payload))
    }

    fn start_any(&self, message: Given<'_>, run: &mut Run<'_>) -> Result<Running<Bytes>, Error> {
        Ok(encoded(self.0.message(), self.0.start(message, run)?))
    }

    fn start_event(&self, message: Given<'_>, run: &mut Run<'_>) -> Result<Running<()>, Error> {
        Ok(unanswered(self.0.start(message, run)?))
    }

    fn start_boxed(&self, mut message: Unpacked, run: &mut Run<'_>) -> Running<Box<dyn Any + Send>> {
        match self.0.start(Given::Taken(&mut *message), run) {
            Ok(running) => boxed(running),
            // It was not decoded.
            Err(_) => failed(wrong_type(self.0.message())),
        }
    }

    fn layered(&self, around: Arc<dyn StartBoxed>) -> Bound {
        Bound::of(Arc::new(LayeredHandler { around, inside: self.0.clone() }))
    }
}

/// A handler behind layers, with the type of its reply again.
struct LayeredHandler<R> {
    around: Arc<dyn StartBoxed>,
    inside: Arc<dyn Start<R>>,
}

impl<R: Send + 'static> Start<R> for LayeredHandler<R> {
    fn start(&self, message: Given<'_>, run: &mut Run<'_>) -> Result<Running<R>, Error> {
        let message = self.unpack(message)?;
        Ok(unboxed(self.message(), self.around.start_boxed(message, run)))
    }

    fn unpack(&self, message: Given<'_>) -> Result<Unpacked, Error> {
        self.inside.unpack(message)
    }

    fn message(&self) -> &'static str {
        self.inside.message()
    }
}

/// A run with its reply encoded.
fn encoded<R: Serialize + Send + 'static>(name: &'static str, running: Running<R>) -> Running<Bytes> {
    Running::new(async move {
        let reply = running.await?;
        codec::encode(name, &reply).map_err(|error| Failure::new("codec", error.to_string()).permanent())
    })
}

/// A run whose reply nobody is told. That of an event has none, and is given back as it is.
fn unanswered<R: Send + 'static>(running: Running<R>) -> Running<()> {
    let mut running = Some(running);
    let same = (&mut running as &mut dyn Any).downcast_mut::<Option<Running<()>>>();
    match (same.and_then(Option::take), running) {
        (Some(event), _) => event,
        (None, Some(request)) => Running::new(async move { request.await.map(drop) }),
        (None, None) => Running::new(std::future::ready(())),
    }
}

/// A run with its reply as layers see it.
fn boxed<R: Send + 'static>(running: Running<R>) -> Running<Box<dyn Any + Send>> {
    Running::new(async move { Ok::<Box<dyn Any + Send>, Failure>(Box::new(running.await?)) })
}

/// A run with its reply as callers see it.
fn unboxed<R: Send + 'static>(name: &'static str, running: Running<Box<dyn Any + Send>>) -> Running<R> {
    Running::new(async move {
        match running.await?.downcast::<R>() {
            Ok(reply) => Ok(*reply),
            Err(_) => Err(wrong_type(name)),
        }
    })
}

/// A run whose message could be read, or a failure for good.
pub(crate) fn begun<R: Send + 'static>(running: Result<Running<R>, Error>) -> Running<R> {
    running.unwrap_or_else(|error| failed(Failure::new("codec", error.to_string()).permanent()))
}

/// A run that has failed before it began.
pub(crate) fn failed<R: Send + 'static>(failure: Failure) -> Running<R> {
    Running::new(std::future::ready(Err::<R, _>(failure)))
}

/// Only a layer that swaps messages or replies between handlers gets here.
fn wrong_type(name: &str) -> Failure {
    Failure::new("wrong_type", format!("a layer gave `{name}` a message or a reply of another type")).permanent()
}

/// Polls a run with a panic turned into a failure of that run alone.
#[inline(always)]
pub(crate) fn poll_isolated<R>(running: &mut Running<R>, cx: &mut TaskContext<'_>) -> Poll<Result<R, Failure>> {
    match std::panic::catch_unwind(AssertUnwindSafe(|| running.poll_unpin(cx))) {
        Ok(poll) => poll,
        Err(payload) => Poll::Ready(Err(Failure::panicked(&*payload))),
    }
}
