//! What the parts of one node share.

use std::{
    any::Any,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{future::FutureExt as _, sync::CancellationToken, task::TaskTracker};

use super::{
    asks::Asks,
    counters::Counters,
    lane::Lane,
    limits::Limits,
    observe::{Observer, Occurrence},
    reliable::ReliableLane,
    server::LocalRequest,
    table::{HandlerTable, Route},
    tasks::Tasks,
};
use crate::{
    cluster::{Cluster, Routing},
    context::{Context, Port},
    error::{Error, ErrorKind, Outcome},
    id::MessageId,
    transport::{Capabilities, Link},
};

/// How long a transport may take to say why it ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// A node: one member of an application, with its handlers and its connection to the others.
// Apart from the count of its owners, which every call writes to, while all threads read this.
#[repr(align(128))]
pub(crate) struct Node {
    pub(crate) id: Arc<str>,
    /// Larger at each start under its id.
    pub(crate) incarnation: u64,
    /// Whether its id was made up at its start.
    pub(crate) generated: bool,
    pub(crate) limits: Limits,
    pub(crate) routing: Routing,
    /// Whether its broker is its own, so that no other node can be there.
    pub(crate) private: bool,
    /// Whether handlers run under the default layers.
    pub(crate) default_layers: bool,
    pub(crate) handlers: HandlerTable,
    pub(crate) cluster: Cluster,
    pub(crate) link: Arc<dyn Link>,
    pub(crate) capabilities: Capabilities,
    /// To the task that sends requests.
    pub(crate) asks: Asks,
    /// To the task that serves requests, for those of this node that are to be remembered.
    pub(crate) local: mpsc::Sender<LocalRequest>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) tasks: Tasks,
    /// Fires when intake stops.
    pub(crate) stop: CancellationToken,
    /// Fires when running handlers are given up.
    pub(crate) cancel: CancellationToken,
    /// Fires when every request has been answered.
    pub(crate) served: CancellationToken,
    /// Fires when the node has left the transport.
    pub(crate) closed: CancellationToken,
    /// Fires when everything is over.
    pub(crate) ended: CancellationToken,
    /// How shutting down ended.
    pub(crate) farewell: OnceLock<Result<(), Error>>,
    pub(crate) shutting_down: AtomicBool,
    /// Whether requests are refused: from when no caller that knows of no other node can send one.
    pub(crate) refusing: AtomicBool,
    /// Whether another node took this one's id, or the transport ended.
    pub(crate) replaced: AtomicBool,
    /// What the transport said when it had ended.
    pub(crate) cut_off: OnceLock<Error>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) started: Instant,
    /// The tasks behind the durables, which shutdown waits for first.
    pub(crate) durables: TaskTracker,
    pub(crate) this: Weak<Node>,
}

impl Node {
    /// Refuses what the transport cannot carry.
    pub(crate) fn check_size(&self, name: &str, size: usize) -> Result<(), Error> {
        let limit = self.link.max_payload();
        if size <= limit {
            return Ok(());
        }
        let text = format!("`{name}` takes {size} bytes, but the transport carries at most {limit}");
        Err(Error::not_started(ErrorKind::TooLarge, text))
    }

    /// Refuses a reply of a handler of this node that is larger than its limit.
    pub(crate) fn check_reply(&self, handler: &str, size: usize) -> Result<(), Error> {
        let limit = self.limits.max_reply.min(self.link.max_payload());
        if size <= limit {
            return Ok(());
        }
        let text = format!("the reply of handler `{handler}` takes {size} bytes, more than {limit}");
        Err(Error::new(ErrorKind::TooLarge, Outcome::Failed, text))
    }

    /// The way into the store for the events of a route.
    pub(crate) fn reliable_lane<'a>(&self, route: &'a Route) -> &'a ReliableLane {
        route.reliable.get_or_init(|| ReliableLane::open(self, route.message))
    }

    /// The way out for the events of a route.
    pub(crate) fn lane<'a>(&self, route: &'a Route) -> &'a Lane {
        route.lane.get_or_init(|| Lane::open(self, route.message))
    }

    /// Spawns a run of a handler, which is given up at the end of the time to shut down.
    pub(crate) fn spawn_run(&self, run: impl Future<Output = ()> + Send + 'static) {
        // As a parameter of an async function the run would take its place twice.
        self.tasks.spawn(run.with_cancellation_token_owned(self.cancel.clone()).map(Option::unwrap_or_default));
    }

    /// Why this node takes no further work.
    pub(crate) fn why_closed(&self) -> Error {
        match self.cut_off.get() {
            Some(error) => error.duplicate(),
            None if self.is_replaced() => Error::replaced(&self.id),
            None => Error::shutting_down(),
        }
    }

    /// Ends this node, whose queues have ended: a transport that still answers gave its place to another node.
    pub(crate) async fn lose_its_place(&self) {
        if self.shutting_down.load(Ordering::Acquire) {
            return;
        }
        let silent = || Error::not_started(ErrorKind::Transport, "the transport ended, and does not answer");
        let answer = tokio::time::timeout(PATIENCE, self.link.backlog()).await;
        if let Err(error) = answer.unwrap_or_else(|_| Err(silent())) {
            // Only the task of the replies gets here.
            drop(self.cut_off.set(error.with_outcome(Outcome::NotStarted)));
        }
        self.give_way();
    }

    pub(crate) fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }

    /// Waits until a node that handles a request is known, for a node that has only just started.
    pub(crate) async fn wait_for_news(&self, name: &str, until: Instant) {
        let known = || !self.cluster.table().load().handling(name).is_empty();
        if known() || Instant::now() >= until {
            return;
        }
        let mut changes = self.cluster.changes();
        let news = async { while !known() && changes.next().await.is_some() {} };
        drop(tokio::time::timeout_at(until, news).await);
    }

    /// Says once for each event type that no handler of it is known here.
    pub(crate) fn mention_unhandled(&self, route: &Route) {
        if !route.mentioned.swap(true, Ordering::Relaxed) {
            tracing::info!(
                target: "catga", event = %route.name,
                "no handler for this event in this process; if it has one in another crate, link it: `use that_crate as _;`"
            );
        }
    }

    /// Tells the recorder, if there is one.
    pub(crate) fn observe(&self, message: &str, id: MessageId, occurrence: impl FnOnce() -> Occurrence) {
        if let Some(observer) = &self.observer {
            observer.observe(&self.id, message, id, occurrence());
        }
    }

    /// The node for keeps.
    pub(crate) fn arc(&self) -> Arc<Self> {
        #[expect(clippy::expect_used, reason = "a node is only ever reached through its Arc, which is alive now")]
        self.this.upgrade().expect("the node that runs this method is alive")
    }
}

impl Port for Node {
    fn node(&self) -> &str {
        &self.id
    }

    fn cancellation(&self) -> &CancellationToken {
        &self.cancel
    }

    fn emitted_late(&self, context: &Context, count: usize) {
        self.counters.late_emissions(count as u64);
        tracing::warn!(
            target: "catga::delivery", handler = context.handler(), id = %context.id(), count,
            "events that were emitted after their handler had ended do not leave"
        );
    }

    fn shared(&self) -> Arc<dyn Port> {
        self.arc()
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
