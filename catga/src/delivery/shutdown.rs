//! How a node stops: intake first, then what runs, then what is on its way out, then the connection.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use super::node::Node;
use crate::error::{Error, ErrorKind};

/// How often shutdown looks whether the work is done.
const LOOK: Duration = Duration::from_millis(5);
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
        let left = if self.is_replaced() { 0 } else { self.finish_what_is_stored(deadline).await };
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
            for lane in self.handlers.routes().filter_map(|route| route.lane.get()) {
                lane.flush().await;
            }
            self.durables.wait().await;
            self.served.cancelled().await;
        };
        let flushed = tokio::time::timeout(STEP, flush).await.is_ok();
        let gone = tokio::time::timeout(STEP, self.link.leave(for_good)).await;
        self.closed.cancel();
        drop(tokio::time::timeout(STEP, self.tasks.wait()).await);
        if self.is_replaced() {
            return Err(self.why_closed());
        }
        if !in_time || !flushed {
            let text = format!("shutting down took too long: {running} runs of handlers were cancelled");
            return Err(Error::unknown(ErrorKind::TimedOut, text));
        }
        if left > 0 {
            let text = format!("{left} stored events were not handled, and are lost with this process");
            return Err(Error::not_started(ErrorKind::TimedOut, text));
        }
        gone.unwrap_or_else(|_| Err(Error::unknown(ErrorKind::TimedOut, "the transport did not confirm the departure")))
    }

    /// Where the store ends with the process, the last node handles what it holds; gives what is left.
    async fn finish_what_is_stored(&self, deadline: Instant) -> usize {
        if self.capabilities.survives_the_process {
            return 0;
        }
        loop {
            // The store knows who is there; the node table may not know yet that a node was killed.
            let backlog = self.link.backlog().await.unwrap_or_default();
            if backlog.others > 0 {
                return 0;
            }
            if backlog.here == 0 || Instant::now() >= deadline {
                if backlog.nowhere > 0 {
                    let lost = backlog.nowhere;
                    tracing::warn!(target: "catga", lost, "events are stored for nodes that are gone, and end with this process");
                }
                return backlog.here;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
