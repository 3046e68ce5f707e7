//! The harness: a broker, a record, and the nodes that share them.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::Instant;

use super::{Fault, Record};
use crate::{
    builder::Builder,
    delivery::{
        node::Node,
        observe::{Observer, Occurrence},
    },
    error::{Error, ErrorKind},
    id::MessageId,
    transport::{InProcess, Transport},
};

/// How long [`Harness::settled`] waits at most, on tokio's clock: longer than all retries and time-outs together.
const PATIENCE: Duration = Duration::from_secs(900);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(1);
/// How often it must find everything at rest in a row: what is on its way between two tasks is in neither.
const QUIET_LOOKS: u32 = 3;

/// Nodes in one process that share a broker and are recorded.
#[derive(Clone)]
pub struct Harness {
    broker: InProcess,
    recorder: Arc<Recorder>,
}

struct Recorder {
    start: Instant,
    state: State,
}

#[expect(clippy::disallowed_types, reason = "a recorder of tests is on no path of a message in production")]
type State = std::sync::Mutex<Recorded>;

#[derive(Default)]
struct Recorded {
    record: Record,
    nodes: Vec<Weak<Node>>,
}

impl Recorder {
    fn with<T>(&self, work: impl FnOnce(&mut Recorded) -> T) -> T {
        // A test that panicked while it held the lock has left nothing half done.
        work(&mut self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Observer for Recorder {
    fn joined(&self, node: &Arc<Node>) {
        self.with(|recorded| recorded.nodes.push(Arc::downgrade(node)));
    }

    fn observe(&self, node: &Arc<str>, message: &str, id: MessageId, occurrence: Occurrence) {
        self.with(|recorded| recorded.record.push(self.start, node, message, id, occurrence));
    }
}

impl Harness {
    /// A harness without nodes.
    pub fn new() -> Self {
        Self::on(InProcess::new())
    }

    /// A harness around a broker of your own making.
    pub fn on(broker: InProcess) -> Self {
        let recorder = Recorder { start: Instant::now(), state: State::default() };
        Self { broker, recorder: Arc::new(recorder) }
    }

    /// Starts to describe a node of this id: on the shared broker, recorded, and one that can be killed.
    pub fn node(&self, id: impl Into<String>) -> Builder {
        self.node_on(self.broker.clone(), id)
    }

    /// A node on another transport that leads to the same broker, for example one that misbehaves.
    pub fn node_on(&self, transport: impl Transport, id: impl Into<String>) -> Builder {
        let mut builder = Builder::new().node(id).transport(transport).killable();
        builder.observer = Some(self.recorder.clone());
        builder
    }

    /// The shared broker.
    pub fn broker(&self) -> &InProcess {
        &self.broker
    }

    /// What the nodes have done so far.
    pub fn record(&self) -> Record {
        self.recorder.with(|recorded| recorded.record.clone())
    }

    /// Puts a fault in force.
    pub async fn inject(&self, fault: Fault) {
        self.broker.inject(fault.into_rule()).await;
    }

    /// Ends every fault.
    pub async fn heal(&self) {
        self.broker.heal().await;
    }

    /// Waits until everything that was sent has been handled, retried to its end or become a dead letter.
    ///
    /// What waits for a node that is not there does not count.
    ///
    /// # Errors
    ///
    /// `TimedOut` if there is still work after 15 minutes on tokio's clock.
    pub async fn settled(&self) -> Result<(), Error> {
        let end = Instant::now() + PATIENCE;
        let mut quiet = 0;
        while quiet < QUIET_LOOKS {
            let pending = self.broker.pending().await;
            let nodes = self.recorder.with(|recorded| recorded.nodes.clone());
            let running: usize = nodes
                .iter()
                .filter_map(Weak::upgrade)
                .filter(|node| !node.tasks.killed())
                .map(|node| node.handlers.occupied())
                .sum();
            let rest = running == 0 && pending.owed == 0 && pending.queued == 0;
            quiet = if rest { quiet + 1 } else { 0 };
            if Instant::now() >= end {
                let text = format!("still at work after {PATIENCE:?}: {running} handlers run, {pending:?}");
                return Err(Error::unknown(ErrorKind::TimedOut, text));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

impl Default for Harness {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").field("entries", &self.record().count()).finish_non_exhaustive()
    }
}
