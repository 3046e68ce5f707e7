//! Callers: so many tasks, each with one call at a time, for a given time; without a pause, or at a pace.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet};

use super::Result;

/// How often a pace lets calls begin: the timer of the runtime is too coarse, and would begin them in bursts.
const SLOT: Duration = Duration::from_micros(200);

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub struct Callers {
    /// How many tasks.
    pub number: u64,
    /// How many calls a second they begin together; none is as many as they can.
    pub pace: Option<f64>,
}

impl Callers {
    /// One, without a pause.
    pub const ONE: Self = Self { number: 1, pace: None };
}

/// What callers have done.
#[derive(Debug, Default)]
pub struct Load {
    /// How many calls.
    pub calls: u64,
    /// The sum of the numbers of what was sent.
    pub sum: u64,
    /// From the first call to the end of the last.
    pub took: Duration,
    /// How long each call took, in nanoseconds and sorted, if there was one caller alone, or a pace.
    pub waits: Vec<u32>,
}

impl Load {
    fn add(&mut self, other: Load) {
        self.calls += other.calls;
        self.sum += other.sum;
        self.waits.extend(other.waits);
    }
}

/// Calls until the time is over; ends with the first error.
pub async fn call<F, W>(callers: Callers, time: Duration, call: F) -> Result<Load>
where
    F: Fn(u64) -> W + Clone + Send + 'static,
    W: Future<Output = Result> + Send + 'static,
{
    let over = Arc::new(AtomicBool::new(false));
    let turns = callers.pace.map(|pace| turns(pace, over.clone()));
    // Looking at the clock costs as much as a call that stays in the process: without a pause only a lone caller does.
    let timed = callers.number == 1 || turns.is_some();
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for first in 0..callers.number {
        let (over, turns, call) = (over.clone(), turns.clone(), call.clone());
        tasks.spawn(async move {
            let (mut load, mut number) = (Load::default(), first);
            while !over.load(Relaxed) {
                if let Some(turns) = &turns {
                    let Ok(turn) = turns.acquire().await else { break };
                    turn.forget();
                }
                let asked = timed.then(Instant::now);
                call(number).await?;
                load.waits.extend(asked.map(|asked| u32::try_from(asked.elapsed().as_nanos()).unwrap_or(u32::MAX)));
                load.calls += 1;
                load.sum += number;
                number += callers.number;
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

/// Gives so many turns a second, from a thread that sleeps in between.
fn turns(pace: f64, over: Arc<AtomicBool>) -> Arc<Semaphore> {
    let turns = Arc::new(Semaphore::new(0));
    let giving = turns.clone();
    std::thread::spawn(move || {
        let (began, mut given) = (Instant::now(), 0);
        while !over.load(Relaxed) {
            std::thread::sleep(SLOT);
            let due = (began.elapsed().as_secs_f64() * pace) as usize;
            giving.add_permits(due - given);
            given = due;
        }
        giving.close();
    });
    turns
}
