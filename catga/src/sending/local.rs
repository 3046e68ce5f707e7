//! A request that a handler of this node answers: where it was made, and in a box when that takes longer than one poll.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    codec,
    context::{Metadata, Run, Source},
    delivery::{node::Node, observe::Occurrence, request_run::answer_of, table::HandlerEntry},
    error::{Error, ErrorKind},
    handler::{Given, Start, Unpacked, begun},
    message::Reply,
    middleware::{
        gate::{Permit, Turn},
        run::{RunError, Started, finish_with_retries, start},
    },
};

/// A request that a handler of this node answers, for as long as it is polled where it was made.
#[derive(Clone, Copy)]
pub(super) struct Here<'a> {
    pub(super) node: &'a Node,
    pub(super) handler: &'a HandlerEntry,
    /// Made only when somebody needs it.
    pub(super) metadata: &'a OnceLock<Metadata>,
    pub(super) patience: Duration,
}

/// The same, for keeps.
pub(super) struct Local {
    pub(super) node: Arc<Node>,
    pub(super) handler: Arc<HandlerEntry>,
    pub(super) metadata: OnceLock<Metadata>,
    pub(super) patience: Duration,
}

impl Local {
    pub(super) fn here(&self) -> Here<'_> {
        Here { node: &self.node, handler: &self.handler, metadata: &self.metadata, patience: self.patience }
    }

    /// Goes on with a run that was not ready at its first poll. One that is given up is over before another one has its place:
    /// parameters are dropped from the last to the first.
    pub(super) async fn finish<T: Reply>(self, permit: Permit, mut started: Started<T>) -> Result<T, Error> {
        let here = self.here();
        let result = here.by_the_deadline(started.finish(here.handler.timeout)).await;
        drop(started);
        drop(permit);
        here.conclude(result?, 1)
    }

    /// Sends a request when it is its turn, if that comes by its deadline.
    pub(super) async fn send_in_turn<T: Reply>(
        mut self,
        typed: Arc<dyn Start<T>>,
        mut request: Unpacked,
        turn: Turn,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + self.patience;
        let permit = match tokio::time::timeout_at(deadline, turn).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(self.node.why_closed()),
            Err(_) => {
                let text = "the deadline passed before a handler could start";
                return Err(Error::not_started(ErrorKind::TimedOut, text));
            }
        };
        self.patience = deadline.saturating_duration_since(Instant::now());
        self.here().observe_sent();
        if self.handler.retry.attempts > 1 {
            return self.send_with_retries(typed, request, permit).await;
        }
        let started = self.here().start(&*typed, Given::Taken(&mut *request), 1, self.patience);
        self.finish(permit, started).await
    }

    pub(super) async fn send_with_retries<T: Reply>(
        self,
        typed: Arc<dyn Start<T>>,
        request: Unpacked,
        permit: Permit,
    ) -> Result<T, Error> {
        let here = self.here();
        let deadline = Instant::now() + here.patience;
        let mut run = Ok(here.start(&*typed, Given::Copied(&*request), 1, here.patience));
        let again = |attempt| {
            here.node.counters.retries(1);
            let patience = deadline.saturating_duration_since(Instant::now());
            here.start(&*typed, Given::Copied(&*request), attempt, patience)
        };
        let (policy, limit) = (&here.handler.retry, here.handler.timeout);
        let last = here.node.default_layers.then_some(deadline);
        let running = finish_with_retries(&mut run, policy, limit, last, RunError::repeats_request, again);
        let (result, attempts) = here.by_the_deadline(running).await?;
        drop(permit);
        here.conclude(result, attempts)
    }
}

impl Here<'_> {
    pub(super) fn start<T: Reply>(
        self,
        typed: &dyn Start<T>,
        request: Given<'_>,
        attempt: u32,
        patience: Duration,
    ) -> Started<T> {
        let mut run = Run::new(self.node, &self.handler.name, Source::Lazy(self.metadata));
        run.patience = Some(patience);
        run.attempt = attempt;
        start(run, &self.handler.meter, |run| begun(typed.start(request, run)))
    }

    /// Waits for a run, at most to the deadline of the request and to the end of the time to shut down.
    async fn by_the_deadline<T>(self, run: impl Future<Output = T>) -> Result<T, Error> {
        let (handler, patience) = (&self.handler.name, self.patience);
        let late = async {
            match self.node.default_layers {
                true => tokio::time::sleep(patience).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            result = run => Ok(result),
            () = late => {
                let text = format!("handler `{handler}` did not answer within {patience:?}");
                Err(Error::unknown(ErrorKind::TimedOut, text))
            }
            () = self.node.tasks.until_killed() => Err(Error::killed()),
            () = self.node.cancel.cancelled() => {
                let text = format!("handler `{handler}` was cancelled: the time to shut down this node was over");
                Err(Error::unknown(ErrorKind::ShuttingDown, text))
            }
        }
    }

    #[inline(always)]
    pub(super) fn observe_sent(self) {
        if self.node.observer.is_some() {
            self.node
                .observe(self.handler.message.name, self.metadata.get_or_init(Metadata::fresh).id, || Occurrence::Sent);
        }
    }

    pub(super) fn conclude<T: Reply>(self, result: Result<T, RunError>, attempt: u32) -> Result<T, Error> {
        let (handler, name) = (&self.handler.name, self.handler.message.name);
        if self.node.observer.is_none() {
            return result.map_err(|error| answer_of(handler, error).0);
        }
        self.node.observe(name, self.metadata.get_or_init(Metadata::fresh).id, || match &result {
            Ok(_) => Occurrence::Handled { handler: handler.clone(), attempt },
            Err(error) => Occurrence::Failed { handler: handler.clone(), attempt, failure: error.failure.clone() },
        });
        // A test wants the reply encoded too, and held to the limit of one that crosses.
        let reply = codec::encode(name, &result.map_err(|error| answer_of(handler, error).0)?)?;
        self.node.check_reply(handler, reply.len())?;
        codec::decode(name, &reply)
    }
}
