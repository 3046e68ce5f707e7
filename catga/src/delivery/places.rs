//! A bounded number of places. What has one is taken up by a task at once, so that nothing waits where nobody looks.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// Places for what was handed over to a task and is not done with.
#[derive(Debug)]
pub(crate) struct Places {
    taken: AtomicUsize,
    limit: usize,
    /// How many wait for one.
    waiting: AtomicUsize,
    freed: Notify,
}

impl Places {
    pub(crate) fn new(limit: usize) -> Self {
        Self { taken: AtomicUsize::new(0), limit: limit.max(1), waiting: AtomicUsize::new(0), freed: Notify::new() }
    }

    // In one order for all threads: either who waits sees the place that is given back, or who gives it back sees who waits.

    /// Takes a place, if there is one. Hot: one atomic operation.
    pub(crate) fn try_take(&self) -> bool {
        let one_more = |taken: usize| (taken < self.limit).then_some(taken + 1);
        self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok()
    }

    /// Takes the first place, if none is taken.
    pub(crate) fn try_take_first(&self) -> bool {
        self.taken.compare_exchange(0, 1, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// Takes a place when there is one; says whether there was by then.
    pub(crate) async fn take(&self, deadline: Instant) -> bool {
        let _waits = Waits::begin(self);
        let free = async {
            loop {
                let mut freed = std::pin::pin!(self.freed.notified());
                // What is freed from here on is heard of.
                freed.as_mut().enable();
                if self.try_take() {
                    return;
                }
                freed.await;
            }
        };
        timeout_at(deadline, free).await.is_ok()
    }

    /// Gives so many places back.
    pub(crate) fn free(&self, count: usize) {
        self.taken.fetch_sub(count, Ordering::SeqCst);
        for _ in 0..count.min(self.waiting.load(Ordering::SeqCst)) {
            self.freed.notify_one();
        }
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }
}

/// One who waits for a place, until it is dropped.
struct Waits<'a>(&'a Places);

impl<'a> Waits<'a> {
    fn begin(places: &'a Places) -> Self {
        places.waiting.fetch_add(1, Ordering::SeqCst);
        Self(places)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_waits_for_one_and_not_for_ever() {
        let places = Places::new(2);
        assert!(places.try_take_first() && !places.try_take_first());
        assert!(places.try_take() && !places.try_take());
        let soon = Instant::now() + Duration::from_secs(1);
        assert!(!places.take(soon).await);
        let (first, second) = (places.take(soon + Duration::from_secs(9)), places.take(soon + Duration::from_secs(9)));
        let free = async { places.free(2) };
        assert_eq!(tokio::join!(first, second, free), (true, true, ()));
        assert_eq!((places.taken(), places.waiting.load(Ordering::SeqCst)), (2, 0));
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
