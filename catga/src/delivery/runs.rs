//! The runs of a durable's task: started in place or in a task, held until their handler has room, and what came of them.

use std::{
    collections::{BTreeMap, VecDeque},
    task::Poll,
    time::Duration,
};

use super::{
    durable::{DurableTask, Open, settle_with},
    observe::Occurrence,
    round::Round,
    work::{Begun, RunResult, Work},
};
use crate::{middleware::gate::Pass, transport::Settlement};

/// How long a message waits in the store that arrives while the same one, or another one under its number, is being handled.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A run that has ended.
pub(super) struct Done {
    sequence: u64,
    work: Work,
    result: RunResult,
}

/// What found its handler busy, by the number of the handler and in order, each with its delivery. It stays in flight,
/// which bounds it; in the store it would lose its place, and in the queue of the handler nobody could tell, when the node
/// stops, what has begun.
#[derive(Default)]
pub(super) struct Held(BTreeMap<u16, VecDeque<(u64, Work)>>);

impl DurableTask {
    /// Starts a run: in place if it is its turn and it is quick, else in a task.
    pub(super) async fn begin(&mut self, sequence: u64, work: Work) {
        let running = (work.envelope.id, work.number);
        if self.running.contains(&running) {
            // The same message is being handled now, from another delivery: look again when that has ended.
            self.store_again(sequence, work, LOOK_AGAIN);
            return self.one_less(sequence).await;
        }
        let work = match self.held.0.contains_key(&work.number) {
            true => Some(work),
            false => self.enter(sequence, work).await,
        };
        if let Some(work) = work {
            self.running.insert(running);
            self.held.0.entry(work.number).or_default().push_back((sequence, work));
        }
    }

    /// Starts what is held, as far as its handlers have room. A handler that has none has runs of this task, the end of
    /// each of which leads here again.
    pub(super) async fn start_held(&mut self) {
        if !self.held.0.is_empty() {
            self.round = Round::start();
        }
        for (number, mut queue) in std::mem::take(&mut self.held.0) {
            while let Some((sequence, work)) = queue.pop_front() {
                if let Some(work) = self.enter(sequence, work).await {
                    queue.push_front((sequence, work));
                    break;
                }
            }
            if !queue.is_empty() {
                self.held.0.insert(number, queue);
            }
        }
    }

    /// Lets go of everything that is not begun, when the node stops. A delivery of which nothing was begun goes back whole
    /// and keeps its place; what remains of another one is stored for whoever comes.
    pub(super) async fn let_go(&mut self) {
        let held = std::mem::take(&mut self.held.0).into_values().flatten();
        let mut rest = self.suspects.drain();
        rest.extend(held);
        let mut waiting: BTreeMap<u64, usize> = BTreeMap::new();
        for (sequence, _) in &rest {
            *waiting.entry(*sequence).or_default() += 1;
        }
        for (sequence, count) in waiting {
            let untouched = |open: &Open| count == open.work && count == open.left;
            if self.open.get(&sequence).is_some_and(untouched)
                && let Some(open) = self.open.remove(&sequence)
            {
                self.in_flight -= open.work;
                settle_with(&self.spec.name, &open.settle, Settlement::Untouched).await;
            }
        }
        for (sequence, work) in rest {
            if self.open.contains_key(&sequence) {
                self.store_for_others(sequence, work);
                self.one_less(sequence).await;
            }
        }
    }

    /// Enters the gate of the handler; gives the work back if as many run as may.
    async fn enter(&mut self, sequence: u64, work: Work) -> Option<Work> {
        let Some(permit) = work.handler.try_enter().map(Pass::keep) else { return Some(work) };
        if !self.round.is_quick() {
            self.spawn(sequence, work, Begun::Admitted(permit));
            return None;
        }
        let mut started = work.start(&self.node);
        match started.first() {
            Poll::Ready(result) => {
                drop(permit);
                self.end(Done { sequence, work, result: RunResult::Ended(result) }).await;
            }
            Poll::Pending => self.spawn(sequence, work, Begun::Started(started, permit)),
        }
        None
    }

    /// Goes on with a run in a task of its own.
    fn spawn(&mut self, sequence: u64, work: Work, begun: Begun) {
        self.running.insert((work.envelope.id, work.number));
        let (node, report) = (self.node.clone(), self.report.clone());
        self.node.tasks.spawn(async move {
            let result = work.run(begun, &node).await;
            drop(report.send(Done { sequence, work, result }).await);
        });
    }

    /// Takes note of a run that has ended.
    pub(super) async fn end(&mut self, done: Done) {
        let Done { sequence, work, result } = done;
        let (name, id) = (&work.envelope.name, work.envelope.id);
        self.running.remove(&(id, work.number));
        match result {
            RunResult::Ended(Ok(())) => {
                self.recent.insert((id, work.number));
                let handled = || Occurrence::Handled { handler: work.handler.name.clone(), attempt: work.attempt };
                self.node.observe(name, id, handled);
            }
            RunResult::Ended(Err(error)) => {
                self.node.observe(name, id, || Occurrence::Failed {
                    handler: work.handler.name.clone(),
                    attempt: work.attempt,
                    failure: error.failure.clone(),
                });
                self.fail(sequence, work, error);
            }
            RunResult::Cut => {
                // It may have done a part. That it ended so is no sign that it kills: the node says so.
                let crashes = work.crashes.saturating_sub(work.declared.into());
                self.store_for_others(sequence, Work { repeat: true, crashes, declared: false, ..work });
            }
        }
        self.one_less(sequence).await;
    }

    /// Stores for whoever comes what a node that stops did not do. What a node had whose place was taken is its successor's:
    /// all of it goes back.
    pub(super) fn store_for_others(&mut self, sequence: u64, work: Work) {
        if !self.node.is_replaced() {
            self.store_again(sequence, work, Duration::ZERO);
        } else if let Some(open) = self.open.get_mut(&sequence) {
            open.give_back = Some(Duration::ZERO);
        }
    }
}
