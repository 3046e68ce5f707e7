//! A bounded number of places. What has one is taken up by a task at once, so that nothing waits where nobody looks.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// Places for what was handed over to a task and is not done with. Who waits for one gets it before all who come later.
#[derive(Debug)]
pub(crate) struct Places {
    taken: AtomicUsize,
    limit: usize,
    /// How many wait for one.
    waiting: AtomicUsize,
    freed: Notify,
}

// All operations are in one order for all threads: either who waits sees the place that is given back, or who gives it back sees
// who waits.
impl Places {
    pub(crate) fn new(limit: usize) -> Self {
        Self { taken: AtomicUsize::new(0), limit: limit.max(1), waiting: AtomicUsize::new(0), freed: Notify::new() }
    }

    /// Takes a place, if there is one and nobody waits for it. Hot: one atomic operation that writes.
    pub(crate) fn try_take(&self) -> bool {
        self.waiting.load(SeqCst) == 0 && self.take_free()
    }

    /// Takes the first place, if none is taken.
    pub(crate) fn try_take_first(&self) -> bool {
        self.waiting.load(SeqCst) == 0 && self.taken.compare_exchange(0, 1, SeqCst, SeqCst).is_ok()
    }

    fn take_free(&self) -> bool {
        let one_more = |taken: usize| (taken < self.limit).then_some(taken + 1);
        self.taken.fetch_update(SeqCst, SeqCst, one_more).is_ok()
    }

    /// Takes a place when it is one's turn; says whether that was by then.
    pub(crate) async fn take(&self, deadline: Instant) -> bool {
        let waits = Waits::begin(self);
        let free = async {
            // Who comes first looks by itself; the others are told, in the order in which they came.
            let mut told = waits.first;
            loop {
                let mut freed = pin!(self.freed.notified());
                // What is freed from here on is heard of.
                told |= freed.as_mut().enable();
                if told && self.take_free() {
                    return;
                }
                freed.await;
                told = true;
            }
        };
        timeout_at(deadline, free).await.is_ok()
    }

    /// Gives so many places back.
    pub(crate) fn free(&self, count: usize) {
        self.taken.fetch_sub(count, SeqCst);
        for _ in 0..count.min(self.waiting.load(SeqCst)) {
            self.freed.notify_one();
        }
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(SeqCst)
    }
}

/// One who waits for a place, until it is dropped.
struct Waits<'a> {
    places: &'a Places,
    /// Whether nobody else waited.
    first: bool,
}

impl<'a> Waits<'a> {
    fn begin(places: &'a Places) -> Self {
        Self { places, first: places.waiting.fetch_add(1, SeqCst) == 0 }
    }
}

impl Drop for Waits<'_> {
    /// Who goes tells the next, if there is a place: one who came when several were free was told nothing.
    fn drop(&mut self) {
        let left = self.places.waiting.fetch_sub(1, SeqCst) - 1;
        if left > 0 && self.places.taken() < self.places.limit {
            self.places.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use futures_util::poll;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_waits_for_one_in_turn_and_not_for_ever() {
        let places = Places::new(2);
        assert!(places.try_take_first() && !places.try_take_first());
        assert!(places.try_take() && !places.try_take());
        let soon = Instant::now() + Duration::from_secs(1);
        assert!(!places.take(soon).await);
        let later = soon + Duration::from_secs(9);
        let [mut first, mut second] = [(); 2].map(|()| Box::pin(places.take(later)));
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        places.free(1);
        assert!(!places.try_take(), "it is for who waits");
        let mut third = Box::pin(places.take(later));
        assert!(poll!(&mut third).is_pending() && poll!(&mut second).is_pending());
        assert!(first.await);
        // More are free than wait, or were told.
        places.free(2);
        assert!(second.await && third.await);
        assert_eq!((places.taken(), places.waiting.load(SeqCst)), (2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_while_several_are_free_is_told_by_who_goes() {
        let places = Places::new(2);
        assert!(places.try_take() && places.try_take());
        let later = Instant::now() + Duration::from_secs(9);
        let mut first = Box::pin(places.take(later));
        assert!(poll!(&mut first).is_pending());
        places.free(2);
        let mut second = Box::pin(places.take(later));
        assert!(poll!(&mut second).is_pending(), "the first has its turn");
        assert!(first.await && second.await);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nobody_waits_while_there_is_a_place() {
        let places = Arc::new(Places::new(3));
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let places = places.clone();
                tokio::spawn(async move {
                    for _ in 0..2_000 {
                        if !places.try_take() {
                            assert!(places.take(Instant::now() + Duration::from_secs(60)).await, "it waited in vain");
                        }
                        assert!((1..=3).contains(&places.taken()));
                        tokio::task::yield_now().await;
                        places.free(1);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("it ended well");
        }
        assert_eq!(places.taken(), 0);
    }
}
