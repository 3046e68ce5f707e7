//! Calls inside a process: medi-rs and rust_bus.

use std::{
    convert::Infallible,
    fmt::Debug,
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use catga::{Event, Mediator, handler};
use catga_bench::{
    Add, ready,
    rows::{
        Result, inside,
        row::{Figure, Side as Twin},
        text,
    },
};
use futures_util::future::BoxFuture;
use medi_rs::{MediCommand, TryPublishError, medi_handler, medi_module, mediator};
use rust_bus::{BusEvent, BusEventHandler, contracts::meta::BusMetadata};
use serde::{Deserialize, Serialize};
use tokio::{runtime::Runtime, sync::OnceCell};

use crate::Side;

/// How many calls are made between two looks at the clock.
const STRIDE: u64 = 10_000;
/// How long the last event may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The sum of what was handled. It is the same for all, because a handler of rust_bus has no state.
static HANDLED: AtomicU64 = AtomicU64::new(0);

fn handled(number: u64) {
    HANDLED.fetch_add(number + 1, Relaxed);
}

#[derive(Clone, Event, Serialize, Deserialize)]
struct Counted {
    number: u64,
}

#[handler]
async fn count(event: Counted) {
    handled(event.number);
}

#[derive(MediCommand)]
#[medi_command(return_type = u64)]
struct Plus {
    a: u64,
    b: u64,
}

#[medi_handler]
async fn plus(command: Plus) -> std::result::Result<u64, Infallible> {
    Ok(command.a + command.b)
}

#[derive(Clone)]
struct Queued {
    number: u64,
}

#[medi_handler]
async fn count_queued(event: Queued) -> medi_rs::Result<()> {
    handled(event.number);
    Ok(())
}

medi_module! {
    manifest numbers;
    commands { Plus => plus; }
    events { Queued => [count_queued]; }
}

mediator! {
    struct Medi {
        event_queue_capacity: 4096;
        event_workers: 1;
        modules: [numbers];
    }
}

#[BusEvent]
struct OnBus {
    number: u64,
}

#[BusEventHandler]
async fn count_on_bus(
    event: &OnBus,
    _: &BusMetadata,
) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
    handled(event.number);
    Ok(())
}

/// A runtime on this thread.
pub fn one_thread() -> Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text)
}

/// A command whose reply is a sum.
pub fn send(side: Side, time: Duration) -> Figure {
    match side {
        Side::Catga => inside::send(Twin::Ours, true, time),
        Side::Hand => inside::send(Twin::Bare, true, time),
        Side::Peer => {
            let medi = black_box(Medi::builder().build());
            inside::measure(time, |Add { a, b }| match ready(medi.send(Plus { a, b })) {
                Ok(sum) => sum,
                Err(never) => match never {},
            })
        }
    }
}

/// An event that is handled where it is published.
pub fn event(side: Side, time: Duration) -> Result<Figure> {
    one_thread()?.block_on(async {
        match side {
            Side::Catga => {
                let mediator = Mediator::builder().discover(false).handler(count).build().await.map_err(text)?;
                let publish = async |number| mediator.publish(Counted { number }).await.map_err(text);
                let figure = measure(time, publish).await?;
                mediator.shutdown().await.map_err(text)?;
                Ok(figure)
            }
            Side::Peer => {
                // Once in a process.
                static READY: OnceCell<()> = OnceCell::const_new();
                READY.get_or_try_init(rust_bus::init).await.map_err(text)?;
                let metadata = BusMetadata::default();
                measure(time, async |number| rust_bus::bus::event(OnBus { number }, &metadata).await.map_err(text))
                    .await
            }
            Side::Hand => {
                type Boxed = Box<dyn Fn(Counted) -> BoxFuture<'static, ()>>;
                let boxed: Boxed = black_box(Box::new(|event| Box::pin(count(event))));
                measure(time, async |number| {
                    boxed(Counted { number }).await;
                    Ok(())
                })
                .await
            }
        }
    })
}

/// The same; with medi-rs a worker takes it from a queue. `publish` takes half as long again as `try_publish`, and longer
/// on two threads than on one.
pub fn queued(side: Side, time: Duration) -> Result<Figure> {
    if side != Side::Peer {
        return event(side, time);
    }
    one_thread()?.block_on(async {
        let medi: &'static Medi = Box::leak(Box::new(Medi::builder().try_build().map_err(debug)?));
        medi.start().map_err(debug)?;
        let publish = async |number| match medi.try_publish(Queued { number }) {
            Ok(()) => Ok(()),
            Err(TryPublishError::Full(event) | TryPublishError::Closed(event)) => {
                medi.publish(event).await.map_err(debug)
            }
        };
        let figure = measure(time, publish).await?;
        medi.shutdown().await.map_err(debug)?;
        Ok(figure)
    })
}

/// An error of medi-rs.
fn debug(error: impl Debug) -> String {
    format!("{error:?}")
}

/// Publishes for so long, one after the other, and waits until all are handled.
async fn measure(time: Duration, publish: impl AsyncFn(u64) -> Result) -> Result<Figure> {
    HANDLED.store(0, Relaxed);
    let (began, mut calls) = (Instant::now(), 0);
    while began.elapsed() < time {
        for number in calls..calls + STRIDE {
            publish(black_box(number)).await?;
        }
        calls += STRIDE;
    }
    let sum = calls * (calls + 1) / 2;
    while HANDLED.load(Relaxed) < sum && began.elapsed() < time + PATIENCE {
        tokio::task::yield_now().await;
    }
    let took = began.elapsed();
    match HANDLED.load(Relaxed) == sum {
        true => Ok(Figure { per_second: calls as f64 / took.as_secs_f64(), messages: calls, ..Figure::default() }),
        false => Err("other events were handled than were published".to_owned()),
    }
}
