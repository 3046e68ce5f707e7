//! Requests from so many callers at the same time, and how many a second are answered.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::task::LocalSet;

use crate::{Result, text};

/// Calls until `enough` says that it is, from so many callers; gives the number of calls and what they took.
pub async fn call<F, W>(callers: u64, enough: impl Fn(u64) -> bool + 'static, call: F) -> Result<(u64, Duration)>
where
    F: Fn(u64) -> W + Clone + 'static,
    W: Future<Output = Result> + 'static,
{
    let (tasks, next) = (LocalSet::new(), Rc::new(Cell::new(0)));
    let (enough, began) = (Rc::new(enough), Instant::now());
    let mut callers: Vec<_> = (0..callers)
        .map(|_| {
            let (next, enough, call) = (next.clone(), enough.clone(), call.clone());
            tasks.spawn_local(async move {
                while !enough(next.get()) {
                    call(next.replace(next.get() + 1)).await?;
                }
                Ok::<_, String>(())
            })
        })
        .collect();
    tasks
        .run_until(async {
            for caller in callers.drain(..) {
                caller.await.map_err(text)??;
            }
            Ok::<_, String>(())
        })
        .await?;
    Ok((next.get(), began.elapsed()))
}
