//! How a node stops: intake first, then what runs, then what is on its way out, then the connection.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use super::node::Node;
use crate::{
    error::{Error, ErrorKind},
    transport::Backlog,
};

/// How often shutdown looks whether the work is done.
const LOOK: Duration = Duration::from_millis(5);
/// The last part of the time to shut down, which what runs then has to itself: a quarter.
const LAST_PART: u32 = 4;
/// How long each step after the handlers may take.
const STEP: Duration = Duration::from_secs(1);

impl Node {
    /// Stops this node within its limit; `for_good` also gives up its own durables. The work goes on in a task of its own, so
    /// that a caller that leaves does not leave the node half stopped; every caller has the same result.
    pub(crate) async fn shut_down(&self, for_good: bool) -> Result<(), Error> {
        self.begin_to_stop(for_good);
        tokio::select! {
            biased;
            () = self.ended.cancelled() => {}
            () = self.tasks.until_killed() => return Ok(()),
        }
        self.farewell.get().map_or(Ok(()), |result| result.as_ref().copied().map_err(Error::duplicate))
    }

    /// Ends this node because another one took its id: that one gets what is stored for it, and what is sent to it.
    pub(crate) fn give_way(&self) {
        // The queues of a node that leaves end too.
        if self.shutting_down.load(Ordering::Acquire) || self.replaced.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::error!(target: "catga", error = %self.why_closed(), "this node ends");
        self.begin_to_stop(false);
    }

    fn begin_to_stop(&self, for_good: bool) {
        if self.shutting_down.swap(true, Ordering::AcqRel) {
            return;
        }
        let node = self.arc();
        tokio::spawn(async move {
            let result = node.stop_in_steps(for_good).await;
            // Only this task sets it.
            drop(node.farewell.set(result));
            node.ended.cancel();
        });
    }

    async fn stop_in_steps(&self, for_good: bool) -> Result<(), Error> {
        tracing::info!(target: "catga", node = %self.id, "shutting down");
        let deadline = Instant::now() + self.limits.shutdown;
        // A transport that cannot do it now says so itself when the node leaves.
        drop(tokio::time::timeout(STEP, self.link.withdraw()).await);
        self.refusing.store(true, Ordering::Release);
        let excused = self.is_replaced() || self.finish_what_is_stored(deadline).await;
        self.stop.cancel();
        // Waiting ends only when no further durable can come.
        self.durables.close();
        let in_time = tokio::time::timeout_at(deadline, async {
            while self.handlers.occupied() > 0 {
                tokio::time::sleep(LOOK).await;
            }
            self.durables.wait().await;
        });
        let in_time = in_time.await.is_ok();
        let running = self.handlers.occupied();
        self.cancel.cancel();
        // What ran may have published: that leaves before the node does.
        let flush = async {
            for route in self.handlers.routes() {
                if let Some(lane) = route.lane.get() {
                    lane.flush().await;
                }
                if let Some(lane) = route.reliable.get() {
                    lane.flush().await;
                }
            }
            self.durables.wait().await;
            self.served.cancelled().await;
        };
        let flushed = tokio::time::timeout(STEP, flush).await.is_ok();
        let settled = async {
            for lane in self.handlers.routes().filter_map(|route| route.reliable.get()) {
                lane.settled().await;
            }
        };
        // A caller that does not go on with what it began holds up nobody for long.
        drop(tokio::time::timeout(STEP, settled).await);
        let left = if excused { 0 } else { self.backlog().await.here };
        let gone = tokio::time::timeout(STEP, self.link.leave(for_good)).await;
        let left = if self.capabilities.survives_the_process { 0 } else { left.max(self.lost().await) };
        self.closed.cancel();
        drop(tokio::time::timeout(STEP, self.tasks.wait()).await);
        if self.is_replaced() {
            return Err(self.why_closed());
        }
        let left = (left > 0).then(|| format!("{left} stored events were not handled, and are lost with this process"));
        if !in_time || !flushed {
            let cut = format!("shutting down took too long: {running} runs of handlers were cancelled");
            let text = left.map_or(cut.clone(), |left| format!("{cut}; {left}"));
            return Err(Error::unknown(ErrorKind::TimedOut, text));
        }
        if let Some(text) = left {
            return Err(Error::not_started(ErrorKind::TimedOut, text));
        }
        gone.unwrap_or_else(|_| Err(Error::unknown(ErrorKind::TimedOut, "the transport did not confirm the departure")))
    }

    /// Where the store ends with the process, a node handles what it holds for nobody else who stays. Says whether it may
    /// go then: what it cannot handle in time, and all that still comes for the last node, is lost.
    async fn finish_what_is_stored(&self, deadline: Instant) -> bool {
        if self.capabilities.survives_the_process {
            return true;
        }
        let until = deadline - self.limits.shutdown / LAST_PART;
        loop {
            // The store knows who is there; the node table may not know yet that a node was killed.
            let backlog = self.backlog().await;
            // What the last node still answers may publish.
            let published = backlog.others > 0 || self.handlers.answering() == 0;
            if backlog.here == 0 && published {
                return backlog.others > 0;
            }
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How many stored events nobody is left to handle, once this node has left.
    async fn lost(&self) -> usize {
        let backlog = self.backlog().await;
        if backlog.others > 0 { 0 } else { backlog.nowhere }
    }

    async fn backlog(&self) -> Backlog {
        tokio::time::timeout(STEP, self.link.backlog()).await.ok().and_then(Result::ok).unwrap_or_default()
    }
}
