//! A reliable lane: the way into the store for the events of one type. What arrives while its task is busy leaves together.
//!
//! Who finds nothing under way stores by itself: each task that an event does not pass is one less to be woken on the way
//! there and back.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context as TaskContext, Poll},
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::unconstrained,
    time::{Duration, Instant},
};

use super::{
    lane::{frame_limit, full},
    node::Node,
    storing::{Confirmation, Item, Storing, Waiting, in_time},
    tasks::Tasks,
};
use crate::{envelope::Envelope, error::Error, message::MessageInfo};

/// The most messages that share a frame: more would make what a crash repeats larger, and gain little.
const FRAME: usize = 32;

/// How often it is looked whether those have ended who store by themselves.
const LOOK: Duration = Duration::from_millis(5);

/// The sending end of a reliable lane.
#[derive(Clone, Debug)]
pub(crate) struct ReliableLane {
    queue: mpsc::Sender<Item>,
    /// How many events were handed over and have not ended.
    under_way: Arc<AtomicUsize>,
    /// How long nearly all callers wait.
    default: Duration,
}

impl ReliableLane {
    pub(crate) fn open(node: &Node, message: MessageInfo) -> Self {
        // The task holds as much again while it waits for the store.
        let (queue, receiver) = mpsc::channel(node.limits.queue.div_ceil(2).max(1));
        let (under_way, default) = (Arc::new(AtomicUsize::new(0)), node.limits.send_deadline);
        let (link, ended, closed) = (node.link.clone(), under_way.clone(), node.closed.clone());
        node.tasks.spawn(async move {
            let task = Storing::new(&*link, receiver, frame_limit(message, FRAME), &ended);
            closed.run_until_cancelled(task.run(default)).await.unwrap_or_default();
        });
        Self { queue, under_way, default }
    }

    /// Takes the lane for one event, if nothing is under way on it.
    pub(crate) fn take(&self) -> bool {
        self.under_way.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Stores an event for which the lane was taken. If the caller goes, a task goes on with it.
    pub(crate) fn store_alone(&self, envelope: Envelope, node: &Node, timeout: Duration) -> Confirmation {
        let (link, under_way) = (node.link.clone(), self.under_way.clone());
        let storing = async move {
            let stored = link.store(vec![envelope]).await;
            under_way.fetch_sub(1, Ordering::AcqRel);
            stored
        };
        // What comes after it must not leave before it because its task has had its turn.
        let storing = Some(unconstrained(storing).boxed());
        let own = Own { storing, tasks: node.tasks.clone(), runtime: Handle::current() };
        let (tasks, deadline) = (node.tasks.clone(), Instant::now() + timeout);
        let unless_killed = async move {
            tokio::select! {
                biased;
                stored = in_time(own, deadline) => stored,
                () = tasks.until_killed() => Err(Error::killed()),
            }
        };
        Confirmation::Boxed(unless_killed.boxed())
    }

    /// Hands over a reliable event if there is room; gives it back if not.
    pub(crate) fn try_store(&self, envelope: Envelope, timeout: Duration) -> Result<Confirmation, Box<Envelope>> {
        match self.queue.try_reserve() {
            Ok(room) => Ok(self.enter(room, envelope, Instant::now() + timeout, timeout == self.default)),
            Err(_) => Err(Box::new(envelope)),
        }
    }

    /// Hands over a reliable event; an error says that there was no room in time.
    pub(crate) async fn store(&self, envelope: Envelope, timeout: Duration) -> Result<Confirmation, Error> {
        let deadline = Instant::now() + timeout;
        match tokio::time::timeout_at(deadline, self.queue.reserve()).await {
            Ok(Ok(room)) => Ok(self.enter(room, envelope, deadline, false)),
            Ok(Err(_)) => Err(Error::shutting_down()),
            Err(_) => Err(full()),
        }
    }

    /// `usual` says that the caller waits as long as nearly all others.
    fn enter(&self, room: mpsc::Permit<'_, Item>, envelope: Envelope, deadline: Instant, usual: bool) -> Confirmation {
        let (waiting, stored) = Waiting::new(deadline, usual);
        self.under_way.fetch_add(1, Ordering::AcqRel);
        room.send(Item::Event(envelope, waiting));
        stored
    }

    /// Waits until everything that was handed over before has left.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Item::Flush(done)).await.is_ok() {
            // An error means that the lane is gone, and with it everything in it.
            drop(flushed.await);
        }
    }

    /// Waits for whoever stores by itself.
    pub(crate) async fn settled(&self) {
        while self.under_way.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// An event that its caller stores. If the caller goes, a task goes on with it.
struct Own {
    storing: Option<BoxFuture<'static, Result<(), Error>>>,
    tasks: Tasks,
    /// It may be dropped outside of the runtime.
    runtime: Handle,
}

impl Future for Own {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let Some(storing) = &mut self.storing else { return Poll::Pending };
        let stored = std::task::ready!(storing.poll_unpin(cx));
        self.storing = None;
        Poll::Ready(stored)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(storing) = self.storing.take() {
            let _entered = self.runtime.enter();
            self.tasks.spawn(storing.map(drop));
        }
    }
}
