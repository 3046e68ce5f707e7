//! The rows inside a process: a call through the mediator beside a call of a boxed function.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{Add, Bench, add, ready};
use catga::{Mediator, SendOptions};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::runtime::Runtime;

use super::{
    Result,
    load::{self, Callers},
    row::{Figure, Keys, Side},
    text,
};

/// How many calls are made between two looks at the clock.
const STRIDE: u64 = 10_000;
/// How many a task makes until others may run.
const TURN: u64 = 100;

type Boxed = Box<dyn Fn(Add) -> BoxFuture<'static, u64> + Send + Sync>;

fn boxed() -> Boxed {
    black_box(Box::new(|command| add(command).boxed()))
}

/// Calls for so long; the sums that come back are checked.
pub fn send(side: Side, layers: bool, time: Duration) -> Figure {
    match side {
        Side::Ours => Bench::new(|builder| builder.default_layers(layers))
            .enter(|mediator| measure(time, |command| ready(mediator.send(command)).unwrap_or_default())),
        Side::Bare => {
            let boxed = boxed();
            measure(time, |command| ready(boxed(command)))
        }
    }
}

/// Calls for so long, one after the other; each must be answered with its first number and one.
pub fn measure(time: Duration, call: impl Fn(Add) -> u64) -> Figure {
    let began = Instant::now();
    let (mut calls, mut right) = (0, 0);
    while began.elapsed() < time {
        for number in calls..calls + STRIDE {
            right += u64::from(black_box(call(black_box(Add { a: number, b: 1 }))) == number + 1);
        }
        calls += STRIDE;
    }
    assert_eq!(right, calls, "every call is answered, and rightly");
    Figure { per_second: calls as f64 / began.elapsed().as_secs_f64(), messages: calls, ..Figure::default() }
}

/// Calls from so many tasks at the same time, on a runtime with a thread for each core.
pub fn tasks(side: Side, callers: u64, keys: Keys, time: Duration) -> Result<Figure> {
    let runtime = Runtime::new().map_err(text)?;
    let callers = Callers { number: callers, pace: None };
    let load = runtime.block_on(async {
        match side {
            Side::Ours => {
                let builder = Mediator::builder().discover(false).handler(add);
                let mediator = builder.build().await.map_err(text)?;
                let calling = mediator.clone();
                let load = load::call(callers, time, move |turn| send_turn(calling.clone(), turn, keys)).await?;
                mediator.shutdown().await.map_err(text)?;
                Ok(load)
            }
            Side::Bare => {
                let boxed = Arc::new(boxed());
                load::call(callers, time, move |turn| boxed_turn(boxed.clone(), turn)).await
            }
        }
    })?;
    let messages = load.calls * TURN;
    Ok(Figure { per_second: messages as f64 / load.took.as_secs_f64(), messages, ..Figure::default() })
}

async fn send_turn(mediator: Mediator, turn: u64, keys: Keys) -> Result {
    for number in turn * TURN..(turn + 1) * TURN {
        // What a known key asks for is the same each time.
        let number = if keys == Keys::Repeated { number % TURN } else { number };
        let command = black_box(Add { a: number, b: 1 });
        let sum = match keys {
            Keys::None => mediator.send(command).await,
            Keys::New | Keys::Repeated => {
                let options = SendOptions { key: Some(number.to_string()), ..SendOptions::default() };
                mediator.send_with(command, options).await
            }
        };
        check(sum.map_err(text)?, number)?;
    }
    tokio::task::yield_now().await;
    Ok(())
}

async fn boxed_turn(boxed: Arc<Boxed>, turn: u64) -> Result {
    for number in turn * TURN..(turn + 1) * TURN {
        check(boxed(black_box(Add { a: number, b: 1 })).await, number)?;
    }
    tokio::task::yield_now().await;
    Ok(())
}

fn check(sum: u64, number: u64) -> Result {
    if black_box(sum) == number + 1 { Ok(()) } else { Err(format!("{number} and 1 were answered with {sum}")) }
}
