//! What one handler is to do with one reliable event, and how a run of it goes.

use std::sync::Arc;

use super::{
    node::Node,
    table::{Decoded, HandlerEntry},
};
use crate::{
    context::{Metadata, Run, Source},
    envelope::Envelope,
    error::Failure,
    middleware::{
        gate::Permit,
        run::{RunError, Started, start},
    },
};

/// What one handler is to do with one message.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) handler: Arc<HandlerEntry>,
    pub(super) envelope: Arc<Envelope>,
    pub(super) attempt: u32,
    /// An earlier run may have ended without this task knowing.
    pub(super) repeat: bool,
}

/// How a run ended.
pub(super) enum RunResult {
    Ended(Result<(), RunError>),
    /// The node shut down before the run could start.
    NotStarted,
}

impl Work {
    pub(super) fn start(&self, node: &Arc<Node>) -> Result<Started<()>, RunError> {
        let message: Decoded = match self.handler.erased().decode(&self.envelope.payload) {
            Ok(message) => message.into(),
            // Retried like a failure: another member may be newer.
            Err(error) => return Err(RunError::answered(Failure::new("codec", error.to_string()))),
        };
        let metadata = Metadata { repeat: self.repeat, ..Metadata::of(&self.envelope, None) };
        let mut run = Run::new(&**node, &self.handler.name, Source::Known(&metadata));
        run.attempt = self.attempt;
        Ok(start(run, |run| self.handler.erased().start_event(&*message, run)))
    }

    pub(super) async fn finish(&self, started: Started<()>, permit: Permit, node: &Node) -> RunResult {
        let running = started.finish(self.handler.timeout);
        let result = tokio::select! {
            biased;
            result = running => RunResult::Ended(result),
            // Given up at the end of the time to shut down; the delivery goes back.
            () = node.cancel.cancelled() => RunResult::NotStarted,
        };
        drop(permit);
        result
    }
}
