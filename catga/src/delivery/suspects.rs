//! Messages that may kill their process: they run one at a time, with nothing else, so that none but the guilty dies.
//!
//! A delivery that is made again ended without an answer: its node was killed, or cut off. Each message of it is stored
//! alone, with the count of such ends. From the third on it is a suspect. Its turn is declared in the store before it
//! runs, so that from then on only what really ran is counted.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{durable::DurableTask, work::Work};
use crate::error::Failure;

/// After how many ends without an answer a message is a suspect.
pub(super) const SUSPECT: u32 = 3;
/// How long the task waits for a suspect that it has declared: in a group, another member may get it.
const DECLARED_FOR: Duration = Duration::from_secs(5);
/// How many runs more than usual may be taken on meanwhile: the declared one must find its way in.
const MARGIN: usize = 64;

/// What waits because something may kill the process.
#[derive(Default)]
pub(super) struct Suspects {
    /// Each with its delivery.
    queue: VecDeque<(u64, Work)>,
    /// What waits until the suspects are through.
    others: VecDeque<(u64, Work)>,
    /// One was declared, and is expected until then.
    declared: Option<Instant>,
}

impl Suspects {
    /// Takes everything, when the node stops.
    pub(super) fn drain(&mut self) -> Vec<(u64, Work)> {
        self.queue.drain(..).chain(self.others.drain(..)).collect()
    }

    fn present(&self) -> bool {
        self.declared.is_some() || !self.queue.is_empty()
    }
}

impl DurableTask {
    /// Whether more may be taken on.
    pub(super) fn has_room(&self) -> bool {
        let margin = if self.suspects.declared.is_some() { MARGIN } else { 0 };
        self.in_flight < self.node.limits.in_flight + margin
    }

    /// Takes note of a delivery that ended without an answer.
    pub(super) async fn suspect(&mut self, sequence: u64, mut work: Work) {
        // A suspect is counted when it is declared: that it was delivered does not mean that it ran.
        if work.crashes < SUSPECT {
            work.crashes += 1;
        }
        work.declared = false;
        self.store_again(sequence, work, Duration::ZERO);
        self.one_less(sequence).await;
    }

    /// Starts a run, unless its message has killed too often, or something that may kill is to run first and alone.
    pub(super) async fn admit(&mut self, sequence: u64, work: Work) {
        if work.crashes >= self.node.limits.crash_limit && !work.declared {
            let text = format!("{} runs of it ended without an answer: the message may kill its process", work.crashes);
            self.bury(sequence, work, Failure::new("crash_limit", text));
            self.one_less(sequence).await;
        } else if work.declared {
            // From here on what runs keeps the next one waiting.
            self.suspects.declared = None;
            self.begin(sequence, work).await;
        } else if work.crashes >= SUSPECT {
            self.suspects.queue.push_back((sequence, work));
        } else if self.suspects.present() {
            self.suspects.others.push_back((sequence, work));
        } else {
            self.begin(sequence, work).await;
        }
    }

    /// Starts what waits, if it may.
    pub(super) async fn start_waiting(&mut self) {
        if !self.running.is_empty() {
            return;
        }
        if self.suspects.declared.is_some_and(|until| Instant::now() < until) {
            return;
        }
        self.suspects.declared = None;
        while let Some((sequence, mut suspect)) = self.suspects.queue.pop_front() {
            if self.is_done(&suspect) {
                self.one_less(sequence).await;
                continue;
            }
            self.suspects.declared = Some(Instant::now() + DECLARED_FOR);
            suspect.crashes += 1;
            suspect.declared = true;
            self.store_again(sequence, suspect, Duration::ZERO);
            return self.one_less(sequence).await;
        }
        while let Some((sequence, work)) = self.suspects.others.pop_front() {
            match self.is_done(&work) {
                true => self.one_less(sequence).await,
                false => self.begin(sequence, work).await,
            }
        }
    }
}
