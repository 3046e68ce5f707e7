//! What one handler is to do with one reliable event, and how a run of it goes.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;

use super::{node::Node, table::HandlerEntry};
use crate::{
    context::{Run, Source},
    envelope::Envelope,
    error::Failure,
    handler::{Given, failed},
    middleware::{
        gate::Permit,
        run::{RunError, Started, start},
    },
};

/// What one handler is to do with one message.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) handler: Arc<HandlerEntry>,
    /// The number of the handler in its durable.
    pub(super) number: u16,
    pub(super) envelope: Arc<Envelope>,
    pub(super) attempt: u32,
    /// An earlier run may have ended without this task knowing.
    pub(super) repeat: bool,
    /// How often a delivery of it ended without an answer.
    pub(super) crashes: u32,
    /// It is to run now, alone, and the store knows.
    pub(super) declared: bool,
}

/// A run that is under way, or may begin.
pub(super) enum Begun {
    Started(Started<()>, Permit),
    Admitted(Permit),
}

/// How a run ended.
pub(super) enum RunResult {
    Ended(Result<(), RunError>),
    /// It was given up at the end of the time to shut down.
    Cut,
}

impl Work {
    /// Runs to the end. Always gives a result: whoever waits for it would wait
    /// for ever.
    pub(super) async fn run(&self, begun: Begun, node: &Arc<Node>) -> RunResult {
        let running = async {
            match begun {
                Begun::Started(started, permit) => self.finish(permit, started, node).await,
                Begun::Admitted(permit) => self.finish(permit, self.start(node), node).await,
            }
        };
        AssertUnwindSafe(running)
            .catch_unwind()
            .await
            .unwrap_or_else(|payload| RunResult::Ended(Err(RunError::answered(Failure::panicked(&*payload)))))
    }

    pub(super) fn start(&self, node: &Arc<Node>) -> Started<()> {
        let mut run = Run::new(&**node, &self.handler.name, Source::event(&self.envelope, self.repeat));
        (run.attempt, run.everywhere) = (self.attempt, self.handler.group.is_none());
        start(run, &self.handler.meter, |run| {
            let running = self.handler.erased().start_event(Given::Encoded(&self.envelope.payload), run);
            // Retried like a failure: another member may be newer.
            running.unwrap_or_else(|error| failed(Failure::new("codec", error.to_string())))
        })
    }

    async fn finish(&self, permit: Permit, mut started: Started<()>, node: &Node) -> RunResult {
        let running = started.finish(self.handler.timeout);
        let result = tokio::select! {
            biased;
            result = running => RunResult::Ended(result),
            () = node.cancel.cancelled() => RunResult::Cut,
        };
        // A run that is cut off is over before another one has its place.
        drop(started);
        drop(permit);
        result
    }
}
