//! Sends a request to a node that handles it, and to another one when the first does not answer.
//!
//! What certainly did not start goes to the next node at once. Silence is probed: a node that is alive is asked again
//! under the same id, for its memory knows; a node that is gone is replaced by another one.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{attempt::Asked, node::Node};
use crate::{
    cluster::{routing::choose, snapshot::NodeView},
    envelope::Envelope,
    error::{Error, ErrorKind, Outcome},
};

/// How long a node that has just started waits to get to know the others before it says that nobody handles a request.
const GETTING_TO_KNOW: Duration = Duration::from_millis(500);

/// A request that is to be sent.
pub(crate) struct Call {
    pub(crate) node: Arc<Node>,
    /// The number of the message type.
    pub(crate) index: usize,
    pub(crate) envelope: Envelope,
    pub(crate) key: Option<String>,
    /// The only node that may have it.
    pub(crate) target: Option<Arc<str>>,
    /// The node whose turn it is, if that is decided.
    pub(crate) first: Option<Target>,
    pub(crate) deadline: Instant,
    /// The same on the clock of this machine, in milliseconds since 1970.
    pub(crate) deadline_ms: u64,
}

/// A node that is to have a request.
pub(crate) struct Target {
    id: Arc<str>,
    /// What is known of it, if anything is.
    view: Option<Arc<NodeView>>,
}

impl Target {
    pub(crate) fn of(view: &Arc<NodeView>) -> Self {
        Self { id: view.id.clone(), view: Some(view.clone()) }
    }

    fn avoid(&self, time: Duration) {
        if let Some(view) = &self.view {
            view.vitals.avoid_for(time);
        }
    }

    fn trust(&self) {
        if let Some(view) = &self.view {
            view.vitals.trust();
        }
    }
}

impl Call {
    /// Sends the request until there is an answer, the attempts are used up or the deadline passes. It is borrowed: who runs
    /// it keeps it, and moves it no further.
    pub(crate) async fn run(&mut self, mut now: Instant) -> Result<Bytes, Error> {
        if self.first.is_none() && self.target.is_none() {
            self.first = self.choose(&[]);
        }
        if self.first.is_none() {
            let until = self.deadline.min(self.node.started + GETTING_TO_KNOW);
            Box::pin(self.node.wait_for_news(&self.envelope.name, until)).await;
            now = Instant::now();
        }
        let mut tried: Vec<Arc<str>> = Vec::new();
        // Whether a node that did not answer may have done the work.
        let mut doubt = false;
        let mut last = None;
        for _ in 0..self.node.limits.delivery_attempts.max(1) {
            let Some(target) = self.choose(&tried) else { break };
            match self.ask(&target.id, now).await {
                Asked::Answered(Ok(reply)) => {
                    target.trust();
                    return Ok(reply);
                }
                Asked::Answered(Err(error)) if self.moves_on(&error) => {
                    target.avoid(self.node.limits.avoid_for);
                    last = Some(error);
                }
                Asked::Answered(Err(error)) => {
                    // A failure is an answer too; these come from this node, or from the transport.
                    if !matches!(error.kind(), ErrorKind::Transport | ErrorKind::ShuttingDown | ErrorKind::Replaced) {
                        target.trust();
                    }
                    let outcome = if doubt && error.outcome() == Outcome::NotStarted {
                        Outcome::Unknown
                    } else {
                        error.outcome()
                    };
                    return Err(error.with_outcome(outcome));
                }
                Asked::Gone => {
                    target.avoid(self.node.limits.avoid_for);
                    doubt = true;
                    // What another node's run emits may have left before: receivers are to look.
                    self.envelope.repeat = true;
                    last = Some(Error::unknown(
                        ErrorKind::Transport,
                        format!("node `{}` stopped answering while it had the request", target.id),
                    ));
                }
                Asked::TimedOut => {
                    return Err(Error::unknown(
                        ErrorKind::TimedOut,
                        format!("no reply to `{}` from node `{}` by the deadline", self.envelope.name, target.id),
                    ));
                }
                Asked::NotSent => {
                    let outcome = if doubt { Outcome::Unknown } else { Outcome::NotStarted };
                    let text =
                        format!("the deadline of `{}` passed before it could leave this node", self.envelope.name);
                    return Err(Error::new(ErrorKind::TimedOut, outcome, text));
                }
            }
            tried.push(target.id);
            now = Instant::now();
        }
        let error = last.unwrap_or_else(|| self.nobody());
        Err(if doubt { error.with_outcome(Outcome::Unknown) } else { error })
    }

    fn choose(&mut self, tried: &[Arc<str>]) -> Option<Target> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let table = self.node.cluster.table().load();
        if let Some(id) = &self.target {
            return (!tried.contains(id)).then(|| Target { id: id.clone(), view: table.get(id).cloned() });
        }
        let (name, route) = (&self.envelope.name, self.node.handlers.route(self.index)?);
        choose(&table, name, self.key.as_deref(), self.node.routing, &route.turn, tried).map(Target::of)
    }

    /// Whether another node may be asked after this answer.
    fn moves_on(&self, error: &Error) -> bool {
        let refused = error.outcome() == Outcome::NotStarted
            && matches!(
                error.kind(),
                ErrorKind::Transport | ErrorKind::NoHandler | ErrorKind::ShuttingDown | ErrorKind::Overloaded
            );
        // Another node does not know the key's history: a full one refuses for all.
        refused && !(self.key.is_some() && error.kind() == ErrorKind::Overloaded)
    }

    fn nobody(&self) -> Error {
        let name = &self.envelope.name;
        let text = match &self.target {
            Some(target) => format!("node `{target}` does not handle `{name}`, or is not known"),
            None => format!(
                "no handler for `{name}` in this process, and no node that handles it is known; \
                 if its handler lives in another crate, link it: `use that_crate as _;`"
            ),
        };
        Error::not_started(ErrorKind::NoHandler, text)
    }
}
