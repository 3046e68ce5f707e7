//! Events in JSON through a broker inside the process: between two nodes of catga, to a handler of RustStream, and by hand
//! through a channel.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use catga::{Mediator, transport::InProcess};
use catga_bench::rows::{
    Result,
    load::{self, Callers},
    messages::{self, Order, Seen},
    row::Figure,
    tally::Tally,
    text,
};
use ruststream::memory::prelude::*;
use tokio::sync::mpsc;

use crate::{
    Side,
    inside::one_thread,
    nats::{Placed, seen},
};

/// How many events the channel holds: as many as may be under way.
const CHANNEL: usize = 4_096;

/// One run of one side. On one thread all are at their fastest.
pub fn measure(side: Side, callers: u64, time: Duration) -> Result<Figure> {
    let callers = Callers { number: callers, pace: None };
    one_thread()?.block_on(async {
        match side {
            Side::Catga => catga(callers, time).await,
            Side::Peer => ruststream(callers, time).await,
            Side::Hand => channel(callers, time).await,
        }
    })
}

async fn catga(callers: Callers, time: Duration) -> Result<Figure> {
    let (transport, tally) = (InProcess::new(), Tally::default());
    let node = |id| Mediator::builder().node(id).transport(transport.clone()).discover(false);
    let receiver = node("receiver").state(tally.clone()).handler(messages::seen).build().await.map_err(text)?;
    let sender = node("sender").build().await.map_err(text)?;
    let publish = {
        let (sender, tally) = (sender.clone(), tally.clone());
        move |number| {
            let (sender, tally) = (sender.clone(), tally.clone());
            async move {
                tally.room(number).await;
                sender.publish(Seen(Order::new(number, None))).await.map_err(text)
            }
        }
    };
    let figure = count(callers, time, &tally, publish).await?;
    sender.shutdown().await.map_err(text)?;
    receiver.shutdown().await.map_err(text)?;
    Ok(figure)
}

async fn ruststream(callers: Callers, time: Duration) -> Result<Figure> {
    let (broker, tally) = (MemoryBroker::new(), Tally::default());
    let state = tally.clone();
    let app = RustStream::new(AppInfo::new("orders", "0.1.0"))
        .on_startup(async move |()| Ok::<_, Infallible>(state))
        .with_broker(broker.clone(), |broker| {
            broker.include(seen);
        });
    let service = app.start().await.map_err(text)?;
    let sender = broker.publisher();
    let publish = {
        let tally = tally.clone();
        move |number| {
            let (sender, tally) = (sender.clone(), tally.clone());
            async move {
                tally.room(number).await;
                sender.message(&Placed(Order::new(number, None))).publish().await.map_err(text)
            }
        }
    };
    let figure = count(callers, time, &tally, publish).await?;
    service.shutdown().await.map_err(text)?;
    Ok(figure)
}

async fn channel(callers: Callers, time: Duration) -> Result<Figure> {
    let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(CHANNEL);
    let tally = Tally::default();
    let counting = tally.clone();
    tokio::spawn(async move {
        while let Some(event) = receiver.recv().await {
            // What cannot be read is missing in the end.
            if let Ok(event) = serde_json::from_slice::<Seen>(&event) {
                counting.handled(event.0.number);
            }
        }
    });
    let pacing = tally.clone();
    let publish = move |number| {
        let (sender, tally) = (sender.clone(), pacing.clone());
        async move {
            tally.room(number).await;
            let event = serde_json::to_vec(&Seen(Order::new(number, None))).map_err(text)?;
            sender.send(event).await.map_err(text)
        }
    };
    count(callers, time, &tally, publish).await
}

/// Publishes until the time is over, and waits until all are handled.
async fn count<F, W>(callers: Callers, time: Duration, tally: &Tally, publish: F) -> Result<Figure>
where
    F: Fn(u64) -> W + Clone + Send + 'static,
    W: Future<Output = Result> + Send + 'static,
{
    let began = Instant::now();
    let load = load::call(callers, time, publish).await?;
    tally.reach(load.calls).await?;
    let took = began.elapsed();
    tally.check(load.calls, load.sum).await?;
    Ok(Figure { per_second: load.calls as f64 / took.as_secs_f64(), messages: load.calls, ..Figure::default() })
}
