//! The rows inside a process: a call through the mediator beside a call of a boxed function.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use catga_bench::{Add, Bench, add, ready};
use futures_util::{FutureExt, future::BoxFuture};

use crate::row::{Figure, Side};

/// How many calls are made between two looks at the clock.
const STRIDE: u64 = 10_000;

type Boxed = Box<dyn Fn(Add) -> BoxFuture<'static, u64>>;

/// Calls for so long; the sums that come back are checked.
pub fn send(side: Side, layers: bool, time: Duration) -> Figure {
    match side {
        Side::Ours => Bench::new(|builder| builder.default_layers(layers))
            .enter(|mediator| measure(time, |command| ready(mediator.send(command)).unwrap_or_default())),
        Side::Bare => {
            let boxed: Boxed = black_box(Box::new(|command| add(command).boxed()));
            measure(time, |command| ready(boxed(command)))
        }
    }
}

fn measure(time: Duration, call: impl Fn(Add) -> u64) -> Figure {
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
