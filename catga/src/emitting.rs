//! An event that a handler emits: it leaves when the handler has succeeded.

use std::{sync::OnceLock, task::Poll};

use bytes::Bytes;

use crate::{
    context::{Context, Emission, Metadata},
    delivery::observe::Occurrence,
    envelope::Envelope,
    error::Error,
    id::MessageId,
    mediator::{Mediator, unregistered},
    message::{AnyMessage, Qos},
};

/// An event that waits for its handler to succeed.
pub(crate) fn emission(event: Box<dyn AnyMessage>) -> Emission {
    Emission { event, leave: |event, context, id, payload| Box::pin(leave(event, context, id, payload)) }
}

async fn leave(event: Box<dyn AnyMessage>, context: Context, id: MessageId, payload: Bytes) -> Result<(), Error> {
    let mediator = Mediator::of(&context);
    let Some(route) = mediator.node.handlers.route(event.index()) else { return Err(unregistered(event.name())) };
    mediator.node.check_size(event.name(), payload.len())?;
    route.sent.add(1);
    let mut envelope = Envelope::new(route.name.clone(), route.message.kind, &mediator.node.id, payload);
    envelope.id = id;
    envelope.correlation = context.correlation();
    envelope.causation = Some(context.id());
    envelope.headers.follow(context.headers());
    envelope.repeat = context.attempt() > 1 || context.metadata().repeat;
    if route.message.qos == Qos::AtLeastOnce {
        let timeout = mediator.node.limits.send_deadline;
        let storing = match mediator.store(route, envelope, timeout, true, || Occurrence::Emitted) {
            Ok(storing) => storing,
            Err(entering) => entering.await?,
        };
        return storing.await;
    }
    let metadata = OnceLock::from(Metadata::of(&envelope, None));
    if !mediator.node.private
        && let Some(leaving) = mediator.hand_over(route, event.index(), envelope)
    {
        leaving.await;
    }
    std::future::poll_fn(|cx| {
        mediator.handle_here(route, &*event, &metadata, cx, || Occurrence::Emitted);
        Poll::Ready(())
    })
    .await;
    Ok(())
}
