//! How many runs of a handler go on at the same time, and how many wait for their turn.
//!
//! The count is an atomic, the queue a bounded channel, and one task a handler hands out turns in order of arrival.
//! There is no lock, and a run that finds the gate free pays two atomic operations.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{Notify, mpsc, oneshot};

/// The entrance of one handler.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Runs and waiters together.
    occupied: AtomicUsize,
    /// The most runs at the same time.
    limit: usize,
    /// Turns that a finished run has passed on and no waiter has taken yet.
    turns: AtomicUsize,
    /// Wakes the task that hands out turns.
    turn: Notify,
    waiters: mpsc::Sender<oneshot::Sender<Permit>>,
}

/// The right to run once; gives the turn on when dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Shared>);

/// What the gate says to a newcomer.
pub(crate) enum Entry {
    Now(Permit),
    /// The permit arrives in turn; an error means that the gate has closed.
    Wait(oneshot::Receiver<Permit>),
    /// As many wait as may.
    Full,
}

/// The task behind a gate; whoever builds the gate runs it.
pub(crate) struct Turnstile {
    gate: Gate,
    waiters: mpsc::Receiver<oneshot::Sender<Permit>>,
}

impl Gate {
    pub(crate) fn new(limit: usize, queue: usize) -> (Self, Turnstile) {
        let (sender, waiters) = mpsc::channel(queue.max(1));
        let gate = Self(Arc::new(Shared {
            occupied: AtomicUsize::new(0),
            limit: limit.max(1),
            turns: AtomicUsize::new(0),
            turn: Notify::new(),
            waiters: sender,
        }));
        (gate.clone(), Turnstile { gate, waiters })
    }

    /// Asks for a turn. Hot: the free gate costs one atomic operation here and one at the end.
    pub(crate) fn enter(&self) -> Entry {
        let shared = &self.0;
        let free = |count: usize| (count < shared.limit).then_some(count + 1);
        if shared.occupied.fetch_update(Ordering::AcqRel, Ordering::Relaxed, free).is_ok() {
            return Entry::Now(Permit(shared.clone()));
        }
        // The place in the queue is reserved before the newcomer is counted: nothing is ever counted and then refused.
        let Ok(place) = shared.waiters.try_reserve() else { return Entry::Full };
        if shared.occupied.fetch_add(1, Ordering::AcqRel) < shared.limit {
            return Entry::Now(Permit(shared.clone()));
        }
        let (sender, receiver) = oneshot::channel();
        place.send(sender);
        Entry::Wait(receiver)
    }

    /// Runs and waiters.
    pub(crate) fn occupied(&self) -> usize {
        self.0.occupied.load(Ordering::Acquire)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let shared = &self.0;
        if shared.occupied.fetch_sub(1, Ordering::AcqRel) > shared.limit {
            shared.turns.fetch_add(1, Ordering::AcqRel);
            shared.turn.notify_one();
        }
    }
}

impl Turnstile {
    /// Hands out turns until `close` fires, then refuses everybody who waits.
    pub(crate) async fn run(mut self, close: tokio_util::sync::CancellationToken) {
        let turning = async {
            loop {
                let take = |turns: usize| turns.checked_sub(1);
                while self.gate.0.turns.fetch_update(Ordering::AcqRel, Ordering::Relaxed, take).is_err() {
                    self.gate.0.turn.notified().await;
                }
                // A turn exists only where a waiter was counted, and the waiter is in the queue or about to be.
                let permit = Permit(self.gate.0.clone());
                match self.waiters.recv().await {
                    // A waiter that has gone drops the permit, and with it passes the turn on.
                    Some(waiter) => drop(waiter.send(permit)),
                    None => return,
                }
            }
        };
        tokio::select! {
            () = turning => {}
            () = close.cancelled() => {}
        }
        // Who waits now is told so by the closed channel; each was counted once.
        self.waiters.close();
        while let Some(waiter) = self.waiters.recv().await {
            self.gate.0.occupied.fetch_sub(1, Ordering::AcqRel);
            drop(waiter);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn gate(limit: usize, queue: usize) -> (Gate, CancellationToken) {
        let (gate, turnstile) = Gate::new(limit, queue);
        let close = CancellationToken::new();
        tokio::spawn(turnstile.run(close.clone()));
        (gate, close)
    }

    fn wait(gate: &Gate) -> oneshot::Receiver<Permit> {
        match gate.enter() {
            Entry::Wait(receiver) => receiver,
            Entry::Now(_) => unreachable!("the gate is occupied"),
            Entry::Full => unreachable!("the queue has room"),
        }
    }

    #[tokio::test]
    async fn turns_are_handed_out_in_order_of_arrival() {
        let (gate, _close) = gate(1, 8);
        let Entry::Now(first) = gate.enter() else { unreachable!("the gate is free") };
        let (second, mut third) = (wait(&gate), wait(&gate));
        drop(first);
        let second = second.await.expect("its turn");
        tokio::task::yield_now().await;
        assert!((&mut third).now_or_never().is_none(), "two runs at a limit of one");
        drop(second);
        drop(third.await.expect("its turn"));
        assert_eq!(gate.occupied(), 0);
        assert!(matches!(gate.enter(), Entry::Now(_)));
    }

    #[tokio::test]
    async fn a_waiter_that_leaves_passes_its_turn_on() {
        let (gate, _close) = gate(1, 8);
        let Entry::Now(first) = gate.enter() else { unreachable!("the gate is free") };
        let (second, third) = (wait(&gate), wait(&gate));
        drop(second);
        drop(first);
        drop(third.await.expect("the turn of the one that left"));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_a_closed_gate_refuses_those_who_wait() {
        let (gate, close) = gate(1, 1);
        let Entry::Now(first) = gate.enter() else { unreachable!("the gate is free") };
        let second = wait(&gate);
        assert!(matches!(gate.enter(), Entry::Full));
        close.cancel();
        assert!(second.await.is_err());
        drop(first);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn the_limit_holds_under_contention() {
        let (gate, _close) = gate(3, 10_000);
        let running = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (gate, running) = (gate.clone(), running.clone());
                tokio::spawn(async move {
                    for _ in 0..2_000 {
                        let permit = match gate.enter() {
                            Entry::Now(permit) => permit,
                            Entry::Wait(turn) => turn.await.expect("its turn"),
                            Entry::Full => unreachable!("the queue has room for all"),
                        };
                        assert!(running.fetch_add(1, Ordering::SeqCst) < 3);
                        tokio::task::yield_now().await;
                        running.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no task saw the limit broken");
        }
        assert_eq!(gate.occupied(), 0);
    }
}
