//! The memory of requests at a million outcomes: what each takes, and what a request then costs.

use std::time::Duration;

use catga::{Command, Mediator, SendOptions, handler};
use serde::{Deserialize, Serialize};
use xtask::usage;

use crate::{Result, load, runtime, text};

const CALLERS: u64 = 64;
/// Room for all of them.
const BYTES: u64 = 8 << 30;
const WINDOW: Duration = Duration::from_secs(3600);

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(u64)]
struct Charge {
    cents: u64,
}

#[handler]
async fn charge(command: Charge) -> u64 {
    command.cents
}

pub fn run(count: usize) -> Result {
    let runtime = runtime()?;
    let result = runtime.block_on(measure(count));
    runtime.shutdown_background();
    result
}

async fn measure(count: usize) -> Result {
    let count = count as u64;
    let builder = Mediator::builder().discover(false).handler(charge).idempotency(WINDOW, BYTES);
    let node = builder.build().await.map_err(text)?;
    let empty = usage::memory("self")?;
    for what in ["new", "again"] {
        let (sender, own) = (node.clone(), usage::thread()?);
        let call = move |number| {
            let sender = sender.clone();
            async move {
                let key = Some(format!("order-{number:08}"));
                let options = SendOptions { key, ..SendOptions::default() };
                sender.send_with(Charge { cents: number }, options).await.map(drop).map_err(text)
            }
        };
        let (calls, took) = load::call(CALLERS, move |made| made >= count, call).await?;
        println!(
            "{calls} keys, {what}: {:.0}/s, {:.2} us of processor each; {:.0} bytes each",
            calls as f64 / took.as_secs_f64(),
            (usage::thread()? - own).as_secs_f64() * 1e6 / calls as f64,
            (usage::memory("self")? - empty) * 1024.0 / calls as f64,
        );
    }
    Ok(())
}
