//! What all sides do alike: call, after a warm-up, and count.

use std::time::{Duration, Instant};

use super::{
    Result,
    load::{self, Load},
    row::Run,
    tally::Tally,
};

/// How long callers call before anything is measured.
const WARM_UP: Duration = Duration::from_millis(100);

impl Run<'_> {
    /// Calls that wait for their answer. What comes back are all calls, those of the warm-up included.
    pub async fn calls<F, W>(&mut self, call: F) -> Result<Load>
    where
        F: Fn(u64) -> W + Clone + Send + 'static,
        W: Future<Output = Result> + Send + 'static,
    {
        let first = load::call(self.callers, WARM_UP, call.clone()).await?;
        self.start()?;
        let load = load::call(self.callers, self.time, call).await?;
        self.stop(&load)?;
        Ok(Load { calls: first.calls + load.calls, sum: first.sum + load.sum, ..load })
    }

    /// Events that a handler counts, measured until the last one is handled; who publishes waits for room. A client may keep
    /// the last ones back until it is told to flush.
    pub async fn events<F, W>(&mut self, tally: &Tally, publish: F, flush: impl AsyncFn() -> Result) -> Result
    where
        F: Fn(u64) -> W + Clone + Send + 'static,
        W: Future<Output = Result> + Send + 'static,
    {
        let first = load::call(self.callers, WARM_UP, publish.clone()).await?;
        flush().await?;
        tally.check(first.calls, first.sum).await?;
        self.start()?;
        let began = Instant::now();
        let mut load = load::call(self.callers, self.time, publish).await?;
        flush().await?;
        tally.reach(first.calls + load.calls).await?;
        load.took = began.elapsed();
        load.waits = tally.waits();
        self.stop(&load)?;
        tally.check(first.calls + load.calls, first.sum + load.sum).await
    }
}
