//! A process with many message types: what `build()` takes, what an idle type takes, what a call costs.

use generated::*;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use catga::Mediator;
use xtask::usage;

use crate::{Result, runtime, text};

mod generated {
    //! The types, their handlers, and their calls.
    include!(concat!(env!("OUT_DIR"), "/types.rs"));
}

/// How long each kind of call is made.
const TIME: Duration = Duration::from_millis(300);
/// How many calls are made between two looks at the clock.
const STRIDE: usize = 10_000;

pub fn run() -> Result {
    let runtime = runtime()?;
    let (before, calls) = (usage::memory("self")?, Calls::default());
    let began = Instant::now();
    let mediator = runtime.block_on(Mediator::builder().state(calls.clone()).build()).map_err(text)?;
    let took = began.elapsed();
    let kilobytes = usage::memory("self")? - before;
    let _entered = runtime.enter();
    let types = SENDS.len() + PUBLISHES.len();
    println!("{types} types: build() {:.2} ms, {kilobytes:.0} KiB", took.as_secs_f64() * 1e3);
    for (name, count) in [("one type", 1), ("all types in turn", SENDS.len())] {
        let mut number = 0;
        let mut next = move || {
            number = (number + 1) % count;
            number
        };
        let send = measure(|id| assert!(SENDS[next()](&mediator, id), "a command is answered"));
        let publish = measure(|id| assert!(PUBLISHES[next()](&mediator, id), "an event is published"));
        let bare_send = measure(|id| SENDS_BARE[next()](&calls, id));
        let bare_publish = measure(|id| PUBLISHES_BARE[next()](&calls, id));
        println!(
            "  {name}: send {send:.1} ns (a boxed call {bare_send:.1}), publish {publish:.1} ns (a boxed call {bare_publish:.1})"
        );
    }
    Ok(())
}

/// Nanoseconds a call.
fn measure(mut call: impl FnMut(u64)) -> f64 {
    let (began, mut made) = (Instant::now(), 0_u64);
    while began.elapsed() < TIME {
        (0..STRIDE).for_each(|_| call(black_box(1)));
        made += STRIDE as u64;
    }
    began.elapsed().as_nanos() as f64 / made as f64
}
