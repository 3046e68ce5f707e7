//! Callers: so many tasks, each with one call at a time, for a given time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::Result;

/// What callers have done.
#[derive(Debug, Default)]
pub struct Load {
    /// How many calls.
    pub calls: u64,
    /// The sum of the numbers of what was sent.
    pub sum: u64,
    /// From the first call to the end of the last.
    pub took: Duration,
    /// How long each call took, in nanoseconds and sorted, if there was one caller alone.
    pub waits: Vec<u32>,
}

impl Load {
    fn add(&mut self, other: Load) {
        self.calls += other.calls;
        self.sum += other.sum;
        self.waits.extend(other.waits);
    }
}

/// Calls without a pause, from so many tasks; ends with the first error.
pub async fn call<F, W>(callers: u64, time: Duration, call: F) -> Result<Load>
where
    F: Fn(u64) -> W + Clone + Send + 'static,
    W: Future<Output = Result> + Send + 'static,
{
    let over = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for first in 0..callers {
        let (over, call) = (over.clone(), call.clone());
        tasks.spawn(async move {
            let (mut load, mut number) = (Load::default(), first);
            while !over.load(Relaxed) {
                // Looking at the clock costs as much as a call that stays in the process: only a lone caller does.
                let asked = (callers == 1).then(Instant::now);
                call(number).await?;
                load.waits.extend(asked.map(|asked| u32::try_from(asked.elapsed().as_nanos()).unwrap_or(u32::MAX)));
                load.calls += 1;
                load.sum += number;
                number += callers;
            }
            Ok::<_, String>(load)
        });
    }
    tokio::time::sleep(time).await;
    over.store(true, Relaxed);
    let mut all = Load::default();
    while let Some(load) = tasks.join_next().await {
        all.add(load.map_err(|error| error.to_string())??);
    }
    all.took = began.elapsed();
    all.waits.sort_unstable();
    Ok(all)
}
