//! A reliable lane: the way into the store for the events of one type. What arrives while its task is busy leaves together.
//!
//! Who finds nothing under way stores by itself: each task that an event does not pass is one less to be woken on the way
//! there and back.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, ready},
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::unconstrained,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    lane::{frame_limit, full},
    node::Node,
    places::Places,
    storing::{Storing, unconfirmed},
    tasks::Tasks,
};
use crate::{
    envelope::Envelope,
    error::{Error, ErrorKind},
    message::MessageInfo,
    waiting::Waiting,
};

/// The most messages that share a frame: more would make what a crash repeats larger, and gain little.
const FRAME: usize = 32;

/// How often it is looked whether those have ended who store by themselves.
const LOOK: Duration = Duration::from_millis(5);

/// A reliable event that was handed over, and who waits for the store.
pub(super) type Handed = (Envelope, Waiting<Result<(), Error>>);

/// The sending end of a reliable lane.
#[derive(Clone, Debug)]
pub(crate) struct ReliableLane {
    /// Has room for whatever has a place.
    queue: mpsc::Sender<Handed>,
    /// Answered when everything before has left, and the store has said what became of it.
    flushes: mpsc::Sender<oneshot::Sender<()>>,
    /// For what was handed over and has not ended.
    places: Arc<Places>,
    /// How long a caller waits at the least that needs no timer of its own.
    usual: Duration,
    closed: CancellationToken,
}

impl ReliableLane {
    pub(crate) fn open(node: &Node, message: MessageInfo) -> Self {
        let most = node.limits.queue.max(1);
        let (queue, handed) = mpsc::channel(most);
        let (flushes, flushed) = mpsc::channel(1);
        let (places, usual) = (Arc::new(Places::new(most)), node.limits.send_deadline);
        let (link, counted, closed) = (node.link.clone(), places.clone(), node.closed.clone());
        node.tasks.spawn(async move {
            let task = Storing::new(&*link, handed, flushed, frame_limit(message, FRAME), &counted);
            closed.run_until_cancelled(task.run(usual)).await.unwrap_or_default();
        });
        Self { queue, flushes, places, usual, closed: node.closed.clone() }
    }

    /// Takes the lane for one event, if nothing is under way on it.
    pub(crate) fn take(&self) -> bool {
        self.places.try_take_first()
    }

    /// Stores an event for which the lane was taken. If the caller goes, a task goes on with it.
    pub(crate) fn store_alone(&self, envelope: Envelope, node: &Node, timeout: Duration) -> Confirmation {
        let (link, place) = (node.link.clone(), Place(self.places.clone()));
        let storing = async move {
            let stored = link.store(vec![envelope]).await;
            drop(place);
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

    /// Hands over a reliable event if there is a place for it; gives it back if not.
    pub(crate) fn try_store(&self, envelope: Envelope, timeout: Duration) -> Result<Confirmation, Box<Envelope>> {
        match self.places.try_take() {
            true => Ok(self.enter(envelope, Instant::now() + timeout, timeout)),
            false => Err(Box::new(envelope)),
        }
    }

    /// Hands over a reliable event; an error says that there was no place in time.
    pub(crate) async fn store(&self, envelope: Envelope, timeout: Duration) -> Result<Confirmation, Error> {
        let deadline = Instant::now() + timeout;
        match self.closed.run_until_cancelled(self.places.take(deadline)).await {
            Some(true) => Ok(self.enter(envelope, deadline, timeout)),
            Some(false) => Err(full()),
            None => Err(Error::shutting_down()),
        }
    }

    fn enter(&self, envelope: Envelope, deadline: Instant, timeout: Duration) -> Confirmation {
        let (waiting, stored) = Waiting::new(Some(deadline));
        let ended = |error| Confirmation::Boxed(std::future::ready(Err(error)).boxed());
        if self.queue.try_send((envelope, waiting)).is_err() {
            return ended(Error::shutting_down());
        }
        if self.queue.is_closed() {
            // It was handed over just when the task ended: perhaps nobody looks at it any more.
            return ended(abandoned());
        }
        if timeout >= self.usual {
            return Confirmation::Lane(stored);
        }
        // The task does not look often enough for one that waits for so short a time.
        Confirmation::Boxed(in_time(Confirmation::Lane(stored), deadline).boxed())
    }

    /// Waits until everything that was handed over before has left, and the store has said what became of it.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.flushes.send(done).await.is_ok() {
            // An error means that the lane is gone, and with it everything in it.
            drop(flushed.await);
        }
    }

    /// Waits for whoever stores by itself.
    pub(crate) async fn settled(&self) {
        while self.places.taken() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// A place of the lane, until it is dropped.
struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.free(1);
    }
}

/// A reliable event that has been handed over and waits for the store; a future of what became of it. An outcome that is not
/// known in time is an error that says so.
pub(crate) enum Confirmation {
    Lane(oneshot::Receiver<Result<(), Error>>),
    Boxed(BoxFuture<'static, Result<(), Error>>),
}

impl Future for Confirmation {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Boxed(stored) => stored.poll_unpin(cx),
            Self::Lane(stored) => Poll::Ready(ready!(stored.poll_unpin(cx)).unwrap_or_else(|_| Err(abandoned()))),
        }
    }
}

/// Waits until then for the store, and no longer.
async fn in_time(stored: impl Future<Output = Result<(), Error>>, deadline: Instant) -> Result<(), Error> {
    tokio::time::timeout_at(deadline, stored).await.unwrap_or_else(|_| Err(unconfirmed()))
}

fn abandoned() -> Error {
    Error::unknown(ErrorKind::ShuttingDown, "this node ended before the store confirmed: the event may be stored")
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
        let stored = ready!(storing.poll_unpin(cx));
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
