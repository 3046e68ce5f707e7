//! What a handler may know of the message that it handles, and the port to the node that it runs on.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use crossbeam_queue::SegQueue;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    envelope::{Envelope, Headers},
    error::Error,
    id::MessageId,
    message::AnyMessage,
};

/// The most messages that one run of a handler may emit; a handler that emits more has a loop that does not end.
pub(crate) const MAX_EMITTED: usize = 10_000;

/// Marks a run that has ended in the count of what it emitted.
const ENDED: usize = 1 << (usize::BITS - 1);

/// What surrounds the message that a handler handles.
///
/// A handler takes it as a parameter. It is cheap to clone, and costs an allocation only for handlers that ask for it.
///
/// ```
/// use catga::{Context, Event, handler};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Event, Clone, Serialize, Deserialize)]
/// struct Signed { by: String }
///
/// #[handler]
/// async fn log(event: Signed, ctx: Context) {
///     println!("{} on {}: {}, run {}", ctx.id(), ctx.node(), event.by, ctx.attempt());
/// }
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    metadata: Metadata,
    /// The node that the handler runs on.
    port: Arc<dyn Port>,
    /// The handler that runs: part of the ids of what it emits.
    handler: Arc<str>,
    /// The number of this run, from 1.
    attempt: u32,
    /// Whether every node runs the handler, each for itself.
    everywhere: bool,
    /// What leaves when the handler has succeeded.
    emitted: SegQueue<Emission>,
    /// How many were emitted, at most one more than may be; [`ENDED`] is added when the run has ended.
    emissions: AtomicUsize,
    cancellation: CancellationToken,
}

/// What travels with a message and is the same for all its handlers.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    pub(crate) id: MessageId,
    pub(crate) correlation: MessageId,
    pub(crate) causation: Option<MessageId>,
    pub(crate) headers: Headers,
    /// The node that sent the message; `None` stands for this one.
    pub(crate) source: Option<Arc<str>>,
    pub(crate) deadline: Option<Instant>,
    /// An earlier run may have emitted already.
    pub(crate) repeat: bool,
}

impl Metadata {
    /// The metadata of a message that starts a conversation.
    pub(crate) fn fresh() -> Self {
        let id = MessageId::new();
        Self {
            id,
            correlation: id,
            causation: None,
            headers: Headers::new(),
            source: None,
            deadline: None,
            repeat: false,
        }
    }

    pub(crate) fn of(envelope: &Envelope, deadline: Option<Instant>) -> Self {
        Self {
            id: envelope.id,
            correlation: envelope.correlation,
            causation: envelope.causation,
            headers: envelope.headers.clone(),
            source: Some(envelope.source.clone()),
            deadline,
            repeat: envelope.repeat,
        }
    }
}

impl Context {
    /// The id of the message, the same on every attempt.
    pub fn id(&self) -> MessageId {
        self.0.metadata.id
    }

    /// The id of the message that started the conversation.
    pub fn correlation(&self) -> MessageId {
        self.0.metadata.correlation
    }

    /// The id of the message whose handler sent this one.
    pub fn causation(&self) -> Option<MessageId> {
        self.0.metadata.causation
    }

    /// The number of this run of the handler, from 1.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// When the caller stops waiting; `None` for events.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.metadata.deadline
    }

    /// What the sender added.
    pub fn headers(&self) -> &Headers {
        &self.0.metadata.headers
    }

    /// The node that the handler runs on.
    pub fn node(&self) -> &str {
        self.0.port.node()
    }

    /// The node that sent the message.
    pub fn source(&self) -> &str {
        self.0.metadata.source.as_deref().unwrap_or_else(|| self.0.port.node())
    }

    /// The name of the handler that runs.
    pub fn handler(&self) -> &str {
        &self.0.handler
    }

    /// Fires when the node gives up on running handlers, at the end of its time to shut down.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.0.cancellation
    }

    /// The node, where every node runs the handler: what it emits there is another message than elsewhere. Empty where
    /// one node runs it for all, whichever that is.
    pub(crate) fn seat(&self) -> &str {
        if self.0.everywhere { self.node() } else { "" }
    }

    pub(crate) fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    pub(crate) fn port(&self) -> &Arc<dyn Port> {
        &self.0.port
    }

    pub(crate) fn push(&self, emission: Emission) {
        let one_more = |count: usize| (count <= MAX_EMITTED).then_some(count + 1);
        match self.0.emissions.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more) {
            Ok(before) if before < MAX_EMITTED => self.0.emitted.push(emission),
            Err(count) if count >= ENDED => self.0.port.emitted_late(self, 1),
            // One too many: the run fails for it, and nothing that it emitted leaves.
            _ => {}
        }
    }

    /// Ends the run: nothing more is taken up. Says whether anything was.
    pub(crate) fn end(&self) -> bool {
        self.0.emissions.fetch_or(ENDED, Ordering::AcqRel) & !ENDED > 0
    }

    /// Takes what a run that has ended emitted, in order; `None` if that is more than may be.
    pub(crate) fn take_emitted(&self) -> Option<Vec<Emission>> {
        let count = self.0.emissions.load(Ordering::Acquire) & !ENDED;
        let emitted: Vec<_> = std::iter::from_fn(|| self.0.emitted.pop()).collect();
        if count > MAX_EMITTED {
            return None;
        }
        // Counted and not there yet: a task beside the handler emitted it while the handler ended.
        if emitted.len() < count {
            self.0.port.emitted_late(self, count - emitted.len());
        }
        Some(emitted)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("id", &self.id())
            .field("handler", &self.handler())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}

/// The node, as a context sees it; the mediator implements it.
pub(crate) trait Port: Send + Sync + 'static {
    fn node(&self) -> &str;
    /// Fires when running handlers are given up.
    fn cancellation(&self) -> &CancellationToken;
    /// Takes note of events that were emitted when their handler had ended.
    fn emitted_late(&self, context: &Context, count: usize);
    /// The port for keeps.
    fn shared(&self) -> Arc<dyn Port>;
    /// The node behind the port.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// An event that leaves when its handler has succeeded; the mediator knows how.
pub(crate) struct Emission {
    pub(crate) event: Box<dyn AnyMessage>,
    pub(crate) leave: Leave,
}

/// Lets go of an event that has been encoded.
type Leave = fn(Box<dyn AnyMessage>, Context, MessageId, Bytes) -> BoxFuture<'static, Result<(), Error>>;

/// Where the metadata of a message comes from.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    Known(&'a Metadata),
    /// Of a message that has arrived; made when the handler asks.
    Arrived {
        envelope: &'a Envelope,
        /// An earlier run may have emitted already.
        repeat: bool,
        /// When its sender stops waiting.
        deadline: Option<Instant>,
    },
    /// Minted when the first handler asks, and the same for all handlers of the message.
    Lazy(&'a OnceLock<Metadata>),
}

/// One run of one handler, before it starts: makes the context if an extractor asks for it.
pub(crate) struct Run<'a> {
    pub(crate) port: &'a dyn Port,
    pub(crate) handler: &'a Arc<str>,
    pub(crate) attempt: u32,
    /// Whether every node runs the handler, each for itself.
    pub(crate) everywhere: bool,
    /// What the caller waits, for metadata that has no deadline yet.
    pub(crate) patience: Option<Duration>,
    pub(crate) metadata: Source<'a>,
    /// The context, once it was asked for; kept by whoever runs the handler, for what it emits.
    pub(crate) context: Option<Context>,
}

impl<'a> Source<'a> {
    /// That of an event.
    pub(crate) fn event(envelope: &'a Envelope, repeat: bool) -> Self {
        Self::Arrived { envelope, repeat, deadline: None }
    }

    /// That of a request.
    pub(crate) fn request(envelope: &'a Envelope, deadline: Instant) -> Self {
        Self::Arrived { envelope, repeat: envelope.repeat, deadline: Some(deadline) }
    }
}

impl<'a> Run<'a> {
    pub(crate) fn new(port: &'a dyn Port, handler: &'a Arc<str>, metadata: Source<'a>) -> Self {
        Self { port, handler, attempt: 1, everywhere: false, patience: None, metadata, context: None }
    }

    /// The run that a context was made for.
    pub(crate) fn of(context: &'a Context) -> Self {
        Self {
            port: &*context.0.port,
            handler: &context.0.handler,
            attempt: context.0.attempt,
            everywhere: context.0.everywhere,
            patience: None,
            metadata: Source::Known(&context.0.metadata),
            context: Some(context.clone()),
        }
    }

    pub(crate) fn context(&mut self) -> &Context {
        self.context.get_or_insert_with(|| {
            let mut metadata = match self.metadata {
                Source::Known(metadata) => metadata.clone(),
                Source::Arrived { envelope, repeat, deadline } => {
                    Metadata { repeat, ..Metadata::of(envelope, deadline) }
                }
                Source::Lazy(cell) => cell.get_or_init(Metadata::fresh).clone(),
            };
            if let (None, Some(patience)) = (metadata.deadline, self.patience) {
                metadata.deadline = Some(Instant::now() + patience);
            }
            Context(Arc::new(Inner {
                metadata,
                port: self.port.shared(),
                handler: self.handler.clone(),
                attempt: self.attempt,
                everywhere: self.everywhere,
                emitted: SegQueue::new(),
                emissions: AtomicUsize::new(0),
                cancellation: self.port.cancellation().clone(),
            }))
        })
    }
}
