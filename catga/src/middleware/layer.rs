//! Layers around handlers: any `tower::Layer` fits, and [`from_fn`] makes one of an async function.

use std::{
    any::Any,
    fmt,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use futures_util::future::BoxFuture;
use tower::{Layer, Service, ServiceExt, layer::layer_fn, util::BoxCloneSyncService};

use crate::{
    context::{Context, Run},
    error::{BoxError, Failure},
    handler::{ErasedHandler, Running, StartBoxed, Unpacked},
    message::{Kind, MessageInfo},
};

/// One run of a handler, as a layer sees it.
pub struct Call {
    context: Context,
    message: Unpacked,
    info: MessageInfo,
}

impl Call {
    /// What surrounds the message.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The name of the message type.
    pub fn name(&self) -> &'static str {
        self.info.name
    }

    /// Command, query or event.
    pub fn kind(&self) -> Kind {
        self.info.kind
    }

    /// The message, if it is of this type.
    pub fn message<M: 'static>(&self) -> Option<&M> {
        self.message.downcast_ref::<Option<M>>()?.as_ref()
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("name", &self.name()).field("context", &self.context).finish_non_exhaustive()
    }
}

/// What a handler answered, as a layer sees it.
pub struct Answer(Box<dyn Any + Send>);

impl Answer {
    /// The reply, if it is of this type; `()` for events.
    pub fn reply<R: 'static>(&self) -> Option<&R> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer(..)")
    }
}

/// A [`Failure`] in the place of a `tower` error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub Failure);

/// A handler as a `tower` service, with or without layers around it.
pub type HandlerService = BoxCloneSyncService<Call, Answer, BoxError>;

/// What a function of [`from_fn`] calls to go on.
pub struct Next(HandlerService);

impl Next {
    /// Runs the rest: further layers, then the handler.
    ///
    /// # Errors
    ///
    /// The handler's failure, or that of a layer further in.
    pub async fn run(self, call: Call) -> Result<Answer, Failure> {
        self.0.oneshot(call).await.map_err(into_failure)
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Next(..)")
    }
}

/// Makes a layer of an async function, which may look at the call, change nothing of it, refuse it, or look at the
/// answer.
///
/// ```
/// use catga::{Failure, Mediator, middleware::{Answer, Call, Next, from_fn}};
///
/// async fn only_signed(call: Call, next: Next) -> Result<Answer, Failure> {
///     if call.context().headers().get("signature").is_none() {
///         return Err(Failure::new("unsigned", "the header `signature` is missing").permanent());
///     }
///     next.run(call).await
/// }
///
/// let builder = Mediator::builder().layer(from_fn(only_signed));
/// ```
pub fn from_fn<F, Fut>(function: F) -> impl Layer<HandlerService, Service = HandlerService> + Clone
where
    F: Fn(Call, Next) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Answer, Failure>> + Send + 'static,
{
    layer_fn(move |inner: HandlerService| {
        let function = function.clone();
        BoxCloneSyncService::new(tower::service_fn(move |call: Call| {
            let future = function(call, Next(inner.clone()));
            async move { future.await.map_err(|failure| BoxError::from(Failed(failure))) }
        }))
    })
}

/// A layer of the application, put around every handler.
pub(crate) type BoxLayer = Arc<dyn Fn(HandlerService) -> HandlerService + Send + Sync>;

pub(crate) fn boxed<L>(layer: L) -> BoxLayer
where
    L: Layer<HandlerService> + Send + Sync + 'static,
    L::Service: Service<Call, Response = Answer> + Clone + Send + Sync + 'static,
    <L::Service as Service<Call>>::Error: Into<BoxError>,
    <L::Service as Service<Call>>::Future: Send + 'static,
{
    Arc::new(move |inner| BoxCloneSyncService::new(layer.layer(inner).map_err(Into::into)))
}

/// Puts layers around a handler, the first of them outermost.
pub(crate) fn wrap(handler: Arc<dyn ErasedHandler>, info: MessageInfo, layers: &[BoxLayer]) -> Arc<dyn StartBoxed> {
    let innermost = HandlerService::new(Innermost(handler));
    let service = layers.iter().rev().fold(innermost, |service, layer| layer(service));
    Arc::new(Layered { service, info })
}

struct Layered {
    service: HandlerService,
    info: MessageInfo,
}

impl StartBoxed for Layered {
    fn start_boxed(&self, message: Unpacked, run: &mut Run<'_>) -> Running<Box<dyn Any + Send>> {
        let call = Call { context: run.context().clone(), message, info: self.info };
        let service = self.service.clone();
        Running::new(async move { service.oneshot(call).await.map(|answer| answer.0).map_err(into_failure) })
    }
}

/// The handler itself, at the end of the layers.
#[derive(Clone)]
struct Innermost(Arc<dyn ErasedHandler>);

impl Service<Call> for Innermost {
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let running = self.0.start_boxed(call.message, &mut Run::of(&call.context));
        let context = call.context;
        Box::pin(async move {
            running.await.map(Answer).map_err(|failure| {
                // What a failed handler emitted never leaves, whatever a layer makes of its failure.
                drop(context.take_emitted());
                Failed(failure).into()
            })
        })
    }
}

fn into_failure(error: BoxError) -> Failure {
    match error.downcast::<Failed>() {
        Ok(failed) => failed.0,
        Err(error) => Failure::new("error", error.to_string()),
    }
}
