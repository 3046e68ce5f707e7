//! Handlers: what the attribute registers, and what `build()` makes of it.

use std::{
    any::{Any, TypeId},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
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
    /// For callers that know the message only by name.
    pub(crate) erased: Arc<dyn ErasedHandler>,
    /// A `Typed<M>`, for callers that hold the message.
    pub(crate) typed: Box<dyn Any + Send + Sync>,
}

/// A handler with its state, for callers that hold the message.
pub(crate) struct Typed<M: Message>(pub(crate) Arc<dyn Start<M>>);

/// Starts runs of one handler.
pub(crate) trait Start<M: Message>: Send + Sync {
    /// Makes the future of one run; nothing happens before it is polled, but that the parameters are extracted.
    fn start(&self, message: M, run: &mut Run<'_>) -> Running<M::Reply>;
}

/// One run of one handler.
pub(crate) type Running<R> = BoxFuture<'static, Result<R, Failure>>;

/// A handler for callers that know its message only by name.
pub(crate) trait ErasedHandler: Send + Sync {
    /// Reads a message of the handler's type.
    fn decode(&self, payload: &[u8]) -> Result<Box<dyn Any + Send + Sync>, Error>;
    /// Runs with a copy of a message that `decode` gave, and encodes the reply.
    fn start_any(&self, message: &(dyn Any + Send + Sync), run: &mut Run<'_>) -> Running<Bytes>;
    /// Runs with a copy of an event that `decode` gave, or that is of the handler's type.
    fn start_event(&self, message: &(dyn Any + Send + Sync), run: &mut Run<'_>) -> Running<()>;
    /// Reads an event of the handler's type and runs with it; nobody else needs a copy.
    fn start_encoded(&self, payload: &[u8], run: &mut Run<'_>) -> Result<Running<()>, Error>;
    /// Runs with a message of the handler's type and gives its reply, neither encoded: the form that layers see.
    fn start_boxed(&self, message: Box<dyn Any + Send>, run: &mut Run<'_>) -> Running<Box<dyn Any + Send>>;
    /// Puts something around this handler: `start_boxed` of the given handler stands for its own.
    fn layered(&self, around: Arc<dyn StartBoxed>) -> Bound;
}

/// Starts runs whose message and reply are boxed: what is left of a handler behind layers.
pub(crate) trait StartBoxed: Send + Sync {
    fn start_boxed(&self, message: Box<dyn Any + Send>, run: &mut Run<'_>) -> Running<Box<dyn Any + Send>>;
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
    Ok(Bound::of::<M>(Arc::new(FunctionHandler { function, parts, marker })))
}

impl Bound {
    fn of<M: Message>(typed: Arc<dyn Start<M>>) -> Self {
        Self { erased: Arc::new(Typed(typed.clone())), typed: Box::new(Typed(typed)) }
    }
}

struct FunctionHandler<M, Args: Extractors, F> {
    function: F,
    parts: Args::Parts,
    marker: std::marker::PhantomData<fn() -> (M, Args)>,
}

impl<M, Args, F, Fut> Start<M> for FunctionHandler<M, Args, F>
where
    M: Message,
    Args: Extractors,
    F: Fn(M, Args) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoReply<M::Reply>> + Send + 'static,
{
    fn start(&self, message: M, run: &mut Run<'_>) -> Running<M::Reply> {
        match Args::extract(&self.parts, &mut RunHandle(run)) {
            Ok(args) => {
                let future = (self.function)(message, args);
                // Not an async block: that would hold the future twice, and move it at the first poll.
                Box::pin(future.map(IntoReply::into_reply))
            }
            Err(failure) => failed(failure),
        }
    }
}

impl<M: Message> ErasedHandler for Typed<M> {
    fn decode(&self, payload: &[u8]) -> Result<Box<dyn Any + Send + Sync>, Error> {
        Ok(Box::new(codec::decode_isolated::<M>(M::NAME, payload)?))
    }

    fn start_any(&self, message: &(dyn Any + Send + Sync), run: &mut Run<'_>) -> Running<Bytes> {
        match message.downcast_ref::<M>() {
            Some(message) => encoded(M::NAME, self.0.start(message.clone(), run)),
            None => failed(wrong_type(M::NAME)),
        }
    }

    fn start_event(&self, message: &(dyn Any + Send + Sync), run: &mut Run<'_>) -> Running<()> {
        match message.downcast_ref::<M>() {
            Some(message) => unanswered(self.0.start(message.clone(), run)),
            None => failed(wrong_type(M::NAME)),
        }
    }

    fn start_encoded(&self, payload: &[u8], run: &mut Run<'_>) -> Result<Running<()>, Error> {
        let message = codec::decode_isolated::<M>(M::NAME, payload)?;
        Ok(unanswered(self.0.start(message, run)))
    }

    fn start_boxed(&self, message: Box<dyn Any + Send>, run: &mut Run<'_>) -> Running<Box<dyn Any + Send>> {
        match message.downcast::<M>() {
            Ok(message) => boxed(self.0.start(*message, run)),
            Err(_) => failed(wrong_type(M::NAME)),
        }
    }

    fn layered(&self, around: Arc<dyn StartBoxed>) -> Bound {
        Bound::of::<M>(Arc::new(LayeredHandler(around)))
    }
}

/// A handler behind layers, typed again.
struct LayeredHandler(Arc<dyn StartBoxed>);

impl<M: Message> Start<M> for LayeredHandler {
    fn start(&self, message: M, run: &mut Run<'_>) -> Running<M::Reply> {
        unboxed(M::NAME, self.0.start_boxed(Box::new(message), run))
    }
}

// What comes after a run depends on the reply alone. It is apart from what depends on the message, so that it is compiled
// once for each type of reply.

/// A run with its reply encoded.
fn encoded<R: Serialize + Send + 'static>(name: &'static str, running: Running<R>) -> Running<Bytes> {
    Box::pin(async move {
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
        (None, Some(request)) => Box::pin(async move { request.await.map(drop) }),
        (None, None) => Box::pin(std::future::ready(Ok(()))),
    }
}

/// A run with its reply as layers see it.
fn boxed<R: Send + 'static>(running: Running<R>) -> Running<Box<dyn Any + Send>> {
    Box::pin(async move { Ok(Box::new(running.await?) as _) })
}

/// A run with its reply as callers see it.
fn unboxed<R: Send + 'static>(name: &'static str, running: Running<Box<dyn Any + Send>>) -> Running<R> {
    Box::pin(async move {
        match running.await?.downcast::<R>() {
            Ok(reply) => Ok(*reply),
            Err(_) => Err(wrong_type(name)),
        }
    })
}

/// A run that has failed before it began.
pub(crate) fn failed<R: Send + 'static>(failure: Failure) -> Running<R> {
    Box::pin(std::future::ready(Err(failure)))
}

/// Only a layer that swaps messages or replies between handlers gets here.
fn wrong_type(name: &str) -> Failure {
    Failure::new("wrong_type", format!("a layer gave `{name}` a message or a reply of another type")).permanent()
}

/// Polls a run with a panic turned into a failure of that run alone.
pub(crate) fn poll_isolated<R>(
    running: &mut Running<R>,
    cx: &mut std::task::Context<'_>,
) -> std::task::Poll<Result<R, Failure>> {
    match std::panic::catch_unwind(AssertUnwindSafe(|| running.poll_unpin(cx))) {
        Ok(poll) => poll,
        Err(payload) => std::task::Poll::Ready(Err(Failure::panicked(&*payload))),
    }
}
