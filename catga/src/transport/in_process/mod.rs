//! The transport inside one process: nodes share a broker value and nothing else.
//!
//! What it promises is what the cluster promises: messages cross it encoded, reliable events are stored before
//! [`store`](super::Link::store) returns, and each durable keeps its place while its node is away. What it cannot do is
//! survive the process.

mod app;
mod broker;
mod command;
mod consumer;
mod dead_letters;
mod durable;
mod faults;
mod link;
mod options;
mod stream;

use std::{fmt, sync::Arc, time::Duration};

use crossbeam_queue::ArrayQueue;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

#[cfg(feature = "testing")]
pub use self::faults::Traffic;
pub use self::options::InProcessBuilder;
use self::{broker::Broker, command::Command, link::InProcessLink};
#[cfg(feature = "testing")]
pub(crate) use self::{
    command::Pending,
    faults::{Action, Rule},
};
use super::{Capabilities, Joined, Registration, Transport};
use crate::error::{Error, ErrorKind};

/// The most commands that wait for the broker; a full queue slows senders down.
const COMMANDS: usize = 4_096;

/// A broker for nodes in one process; every clone is the same broker.
///
/// ```standalone_crate
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use catga::{Command, Mediator, SendOptions, handler, transport::InProcess};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Command, Clone, Serialize, Deserialize)]
/// #[response(u64)]
/// struct NextNumber {}
///
/// #[derive(Default)]
/// struct Numbers(AtomicU64);
///
/// #[handler]
/// impl Numbers {
///     async fn next(&self, _: NextNumber) -> u64 {
///         self.0.fetch_add(1, Ordering::Relaxed) + 1
///     }
/// }
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> Result<(), catga::Error> {
///     let broker = InProcess::new();
///     let node = |id| Mediator::builder().node(id).state(Numbers::default()).transport(broker.clone()).build();
///     let (first, second) = (node("node1").await?, node("node2").await?);
///
///     // The same key meets the same node, whichever is asked: the second time it is answered and not executed.
///     let once = SendOptions { key: Some("number-42".into()), ..SendOptions::default() };
///     assert_eq!(first.send_with(NextNumber {}, once.clone()).await?, 1);
///     assert_eq!(second.send_with(NextNumber {}, once).await?, 1);
///
///     first.shutdown().await?;
///     second.shutdown().await
/// }
/// ```
#[derive(Clone)]
pub struct InProcess {
    commands: mpsc::Sender<Command>,
    /// The broker itself, until the first node joins and starts it.
    idle: Arc<ArrayQueue<Broker>>,
    settings: Settings,
}

/// What bounds the broker.
#[derive(Clone, Copy, Debug)]
struct Settings {
    max_age: Duration,
    /// Of the stream, and again of what is stored for one durable alone.
    max_bytes: usize,
    max_payload: usize,
    duplicate_window: Duration,
    store_timeout: Duration,
    dead_letter_age: Duration,
    dead_letter_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // A week bridges a long weekend without anybody looking.
            max_age: Duration::from_secs(7 * 24 * 3600),
            max_bytes: 1 << 30,
            // As a NATS server has it by default: what fits here fits there.
            max_payload: 1 << 20,
            // Longer than any repeat of a store, short enough to keep the ids of.
            duplicate_window: Duration::from_secs(120),
            store_timeout: Duration::from_secs(2),
            dead_letter_age: Duration::from_secs(30 * 24 * 3600),
            dead_letter_bytes: 256 << 20,
        }
    }
}

impl InProcess {
    /// A broker that keeps reliable events for 7 days and at most 1 GiB of them; beyond, the oldest are given up.
    ///
    /// Apart from those it keeps at most 1 GiB of what waits for another attempt of its handler: what finds no room
    /// there waits on its node. Dead letters are kept for 30 days, at most 100,000 of them and 256 MiB; beyond, the oldest
    /// are given up, and an error is logged.
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    /// Starts to describe a broker with other bounds.
    pub fn builder() -> InProcessBuilder {
        InProcessBuilder::default()
    }

    fn with(settings: Settings) -> Self {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let idle = Arc::new(ArrayQueue::new(1));
        let broker = Broker::new(settings, receiver, commands.downgrade());
        // The queue is empty and holds one: this cannot fail.
        drop(idle.push(broker));
        Self { commands, idle, settings }
    }

    #[cfg(feature = "testing")]
    pub(crate) async fn inject(&self, rule: Rule) {
        drop(self.commands.send(Command::Inject(rule)).await);
    }

    #[cfg(feature = "testing")]
    pub(crate) async fn heal(&self) {
        drop(self.commands.send(Command::Heal).await);
    }

    /// What waits in the broker, for whom.
    #[cfg(feature = "testing")]
    pub(crate) async fn pending(&self) -> Pending {
        ask(&self.commands, Command::Pending).await.unwrap_or_default()
    }
}

impl Default for InProcess {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Transport for InProcess {
    fn capabilities(&self) -> Capabilities {
        Capabilities { has_a_horizon: true, messages_share_a_delivery: true, ..Capabilities::NONE }
    }

    fn join(&self, node: Registration) -> BoxFuture<'_, Result<Joined, Error>> {
        Box::pin(async move {
            if let Some(broker) = self.idle.pop() {
                tokio::spawn(broker.run());
            }
            let (app, id, incarnation) = (node.app.clone(), node.node.clone(), node.incarnation);
            let (inbox, consumers) = ask(&self.commands, |done| Command::Join { node, done }).await??;
            let link =
                InProcessLink { app, node: id, incarnation, commands: self.commands.clone(), settings: self.settings };
            Ok(Joined::new(Arc::new(link), inbox, consumers))
        })
    }
}

/// Sends a command to the broker and waits for its answer.
async fn ask<T>(
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T, Error> {
    let (done, answer) = oneshot::channel();
    if commands.send(command(done)).await.is_err() {
        return Err(gone());
    }
    answer.await.map_err(|_| {
        Error::unknown(ErrorKind::Transport, "the in-process broker gave no answer: its runtime has ended")
    })
}

fn gone() -> Error {
    Error::not_started(ErrorKind::Transport, "the in-process broker is gone: the runtime that it ran on has ended")
}
