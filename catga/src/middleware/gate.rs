//! How many runs of a handler go on at the same time, and how many wait for their turn.
//!
//! The count is an atomic, the queue a bounded channel, and one task a handler hands out turns in order of arrival.
//! There is no lock, and a run that finds the gate free pays two atomic operations.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::FutureExt;
use tokio::sync::{
    Notify, mpsc,
    oneshot::{self, error::RecvError},
};

/// The entrance of one handler.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<Shared>);

// In cache lines of its own: every run writes to it.
#[derive(Debug)]
#[repr(align(128))]
struct Shared {
    /// Runs and waiters together.
    occupied: AtomicUsize,
    /// The most runs at the same time.
    limit: usize,
    /// The most runs and waiters together.
    room: usize,
    /// Whether somebody has left who waited.
    left: AtomicBool,
    /// Turns that a finished run has passed on and no waiter has taken yet.
    turns: AtomicUsize,
    /// Wakes the task that hands out turns, and clears the places of those who left.
    turn: Notify,
    waiters: mpsc::Sender<oneshot::Sender<Permit>>,
}

/// The right to run once; gives the turn on when dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Shared>);

/// A permit for a run that ends where it began: nothing owns it, so it costs no count of owners.
#[derive(Debug)]
pub(crate) struct Pass<'a>(&'a Arc<Shared>);

/// What the gate says to a newcomer.
pub(crate) enum Entry<'a> {
    Now(Pass<'a>),
    Wait(Turn),
    /// As many wait as may.
    Full,
}

/// The place of one who waits: the permit arrives in turn; an error means that the gate has closed. Who drops it leaves.
pub(crate) struct Turn {
    permit: oneshot::Receiver<Permit>,
    /// Whether the permit has been taken.
    over: bool,
    shared: Arc<Shared>,
}

/// The task behind a gate; whoever builds the gate runs it.
pub(crate) struct Turnstile {
    gate: Gate,
    waiters: mpsc::Receiver<oneshot::Sender<Permit>>,
    /// Those of them whom the task has seen, in order of arrival.
    queue: VecDeque<oneshot::Sender<Permit>>,
    /// Turns that nobody has taken yet: a waiter is counted before it is in the queue.
    turns: usize,
}

impl Gate {
    pub(crate) fn new(limit: usize, queue: usize) -> (Self, Turnstile) {
        let queue = queue.max(1);
        let (sender, waiters) = mpsc::channel(queue);
        let gate = Self(Arc::new(Shared {
            occupied: AtomicUsize::new(0),
            limit: limit.max(1),
            room: limit.max(1).saturating_add(queue),
            left: AtomicBool::new(false),
            turns: AtomicUsize::new(0),
            turn: Notify::new(),
            waiters: sender,
        }));
        (gate.clone(), Turnstile { gate, waiters, queue: VecDeque::new(), turns: 0 })
    }

    /// Asks for a permit, and for no place in the queue.
    #[inline]
    pub(crate) fn try_enter(&self) -> Option<Pass<'_>> {
        let shared = &self.0;
        let free = |count: usize| (count < shared.limit).then_some(count + 1);
        let entered = shared.occupied.fetch_update(Ordering::AcqRel, Ordering::Relaxed, free);
        entered.is_ok().then(|| Pass(shared))
    }

    /// Asks for a turn. Hot: the free gate costs one atomic operation here and one at the end.
    #[inline]
    pub(crate) fn enter(&self) -> Entry<'_> {
        match self.try_enter() {
            Some(pass) => Entry::Now(pass),
            None => self.wait(),
        }
    }

    #[cold]
    fn wait(&self) -> Entry<'_> {
        let shared = &self.0;
        // The place in the queue is reserved before the newcomer is counted: nothing is ever counted and then refused.
        let Ok(place) = shared.waiters.try_reserve() else { return Entry::Full };
        let room = |count: usize| (count < shared.room).then_some(count + 1);
        match shared.occupied.fetch_update(Ordering::AcqRel, Ordering::Relaxed, room) {
            Err(_) => Entry::Full,
            Ok(before) if before < shared.limit => Entry::Now(Pass(shared)),
            Ok(_) => {
                let (sender, permit) = oneshot::channel();
                place.send(sender);
                Entry::Wait(Turn { permit, over: false, shared: shared.clone() })
            }
        }
    }

    /// Whether a newcomer would have to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.occupied() >= self.0.limit
    }

    /// Whether it is this very gate.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Runs and waiters.
    pub(crate) fn occupied(&self) -> usize {
        self.0.occupied.load(Ordering::Acquire)
    }
}

impl Shared {
    /// Ends a run.
    fn leave(&self) {
        if self.occupied.fetch_sub(1, Ordering::AcqRel) > self.limit {
            self.turns.fetch_add(1, Ordering::AcqRel);
            self.turn.notify_one();
        }
    }
}

impl Pass<'_> {
    /// The permit for a run that goes on elsewhere.
    pub(crate) fn keep(self) -> Permit {
        Permit(std::mem::ManuallyDrop::new(self).0.clone())
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Future for Turn {
    type Output = Result<Permit, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let poll = self.permit.poll_unpin(cx);
        self.over = poll.is_ready();
        poll
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.over {
            self.permit.close();
            self.shared.left.store(true, Ordering::Release);
            self.shared.turn.notify_one();
        }
    }
}

impl Turnstile {
    /// Hands out turns until `close` fires, then refuses everybody who waits.
    pub(crate) async fn run(mut self, close: tokio_util::sync::CancellationToken) {
        loop {
            self.hand_out();
            tokio::select! {
                biased;
                () = close.cancelled() => break,
                () = self.gate.0.turn.notified() => {}
                waiter = self.waiters.recv() => match waiter {
                    Some(waiter) => self.queue.push_back(waiter),
                    None => break,
                },
            }
        }
        // Who waits now is told so by the closed channel; each was counted once.
        self.waiters.close();
        let refuse = |waiter: oneshot::Sender<Permit>| {
            self.gate.0.occupied.fetch_sub(1, Ordering::AcqRel);
            drop(waiter);
        };
        self.queue.drain(..).for_each(refuse);
        while let Some(waiter) = self.waiters.recv().await {
            refuse(waiter);
        }
    }

    /// The one who has waited longest.
    fn next(&mut self) -> Option<oneshot::Sender<Permit>> {
        self.queue.pop_front().or_else(|| self.waiters.try_recv().ok())
    }

    fn hand_out(&mut self) {
        let shared = self.gate.0.clone();
        self.turns += shared.turns.swap(0, Ordering::AcqRel);
        while self.turns > 0
            && let Some(waiter) = self.next()
        {
            self.turns -= 1;
            // A waiter that has gone drops the permit, and with it passes the turn on.
            drop(waiter.send(Permit(shared.clone())));
        }
        if shared.left.swap(false, Ordering::AcqRel) {
            while let Ok(waiter) = self.waiters.try_recv() {
                self.queue.push_back(waiter);
            }
            // Where no more than the limit is counted, a turn is on its way to each who is left.
            let leave = |count: usize| (count > shared.limit).then(|| count - 1);
            let leaves = || shared.occupied.fetch_update(Ordering::AcqRel, Ordering::Relaxed, leave).is_ok();
            self.queue.retain(|waiter| !(waiter.is_closed() && leaves()));
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

    fn wait(gate: &Gate) -> Turn {
        match gate.enter() {
            Entry::Wait(turn) => turn,
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
    async fn a_waiter_that_leaves_frees_its_place() {
        let (gate, _close) = gate(1, 1);
        let Entry::Now(first) = gate.enter() else { unreachable!("the gate is free") };
        for _ in 0..3 {
            drop(wait(&gate));
            tokio::task::yield_now().await;
            assert_eq!(gate.occupied(), 1);
        }
        let second = wait(&gate);
        assert!(matches!(gate.enter(), Entry::Full));
        drop(first);
        drop(second.await.expect("its turn"));
        assert_eq!(gate.occupied(), 0);
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
                            Entry::Now(pass) => pass.keep(),
                            // Some leave while they wait.
                            Entry::Wait(turn) if fastrand::u8(..) < 64 => {
                                tokio::task::yield_now().await;
                                drop(turn);
                                continue;
                            }
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
        // The last to leave may not have been seen yet.
        while gate.occupied() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(gate.occupied(), 0);
    }
}
