//! RustStream over NATS, as its guides show it: an app with a handler, and a publisher on a connection of its own.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use catga_bench::rows::{
    Result, bare,
    load::Load,
    messages::Order,
    ours::sum,
    row::{Figure, ROWS, Run, Side as Twin, Work, until_acknowledged},
    tally::Tally,
    text,
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use ruststream::{
    ConnectedBroker, OutgoingMessage,
    codec::{Codec, JsonCodec},
    runtime::{BrokerScope, Identity},
};
use ruststream_nats::{ConnectedNatsBroker, JetStreamPublisher, prelude::*};
use serde::{Deserialize, Serialize};

use crate::Side;

/// The stream, and the application of catga; each run has a server of its own.
const NAME: &str = "orders";
/// How many deliveries may be open, and how many are asked for at a time: as by hand.
const OPEN: i64 = 10_000;
const PULL: usize = 1_000;
/// How many messages wait for their acknowledgement, and how many are stored before anything is measured: as by hand.
const WINDOW: usize = 512;
const WARM_UP: u64 = 10_000;
/// About how many messages are delivered in a millisecond.
const DELIVERED: u64 = 100;
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// One run of one side.
pub fn measure(name: &str, side: Side, time: Duration) -> Result<Figure> {
    let row = ROWS.into_iter().find(|row| row.name == name).ok_or("there is no such row")?;
    match side {
        Side::Catga => row.measure(Twin::Ours, NAME.to_owned(), time, None),
        Side::Hand => row.measure(Twin::Bare, NAME.to_owned(), time, None),
        Side::Peer => row.on_server(NAME.to_owned(), time, None, DELIVERED, async |run| match row.work {
            Work::Publish => publish(run).await,
            Work::Store => store(run).await,
            Work::StoreWindow => store_window(run).await,
            Work::Deliver => deliver(run).await,
            Work::Ask => ask(run).await,
            _ => Err("RustStream has no such side".to_owned()),
        }),
    }
}

/// An event; its subject stands at the type, where it costs nothing when it is published.
#[derive(Serialize, Deserialize, Outgoing)]
#[outgoing(name = "bare.orders")]
pub struct Placed(pub Order);

/// A request, and its reply, which goes where the request says.
#[derive(Serialize, Deserialize, Outgoing)]
struct Ask(Order);

/// Counts an event that is in no stream: over core NATS, or over the broker in the process.
#[subscriber("bare.orders")]
pub async fn seen(event: &Placed, ctx: &mut Context<'_, (), Tally>) -> HandlerOutcome {
    ctx.state().handled(event.0.number);
    HandlerOutcome::ack()
}

/// Counts events of a stream. One for each pull is faster than one for each event: 287k/s and 230k/s.
#[subscriber(JetStreamSubject::new("bare.orders", NAME).durable("receiver").max_ack_pending(OPEN))]
async fn placed(events: &[Placed], ctx: &mut Context<'_, (), Tally>) -> HandlerOutcome {
    events.iter().for_each(|event| ctx.state().handled(event.0.number));
    HandlerOutcome::ack()
}

/// Where replies leave.
#[derive(OutSlot)]
#[publishes(Ask)]
struct Answers;

/// Counts a request and gives it back.
#[subscriber("bare.orders")]
async fn answer(
    ask: &Ask,
    ctx: &mut Context<'_, (), Tally>,
    Out(answers): Out<impl Publisher, Answers>,
) -> HandlerOutcome {
    let Some(inbox) = ctx.headers().reply_to() else { return HandlerOutcome::drop() };
    ctx.state().handled(ask.0.number);
    match answers.message(ask).to(inbox).publish().await {
        Ok(()) => HandlerOutcome::ack(),
        Err(_) => HandlerOutcome::retry(),
    }
}

/// A service with a handler, which runs when this returns.
async fn serve(
    run: &Run<'_>,
    tally: &Tally,
    handler: impl FnOnce(&mut BrokerScope<NatsBroker, Identity, (), Tally>),
) -> Result<RunningApp> {
    let tally = tally.clone();
    let app = RustStream::new(AppInfo::new("orders", "0.1.0"))
        .on_startup(async move |()| Ok::<_, Infallible>(tally))
        .with_broker(NatsBroker::new(run.server.url()), handler);
    app.start().await.map_err(text)
}

async fn connect(run: &Run<'_>) -> Result<ConnectedNatsBroker> {
    NatsBroker::new(run.server.url()).connect().await.map_err(text)
}

async fn stop(service: RunningApp, connected: ConnectedNatsBroker) -> Result {
    service.shutdown().await.map_err(text)?;
    connected.shutdown().await.map(drop).map_err(text)
}

/// Events from one connection to the handler on another. Workers, threads and batches are not faster.
async fn publish(run: &mut Run<'_>) -> Result {
    let tally = Tally::default();
    let service = serve(run, &tally, |broker| {
        broker.include(seen);
    })
    .await?;
    let connected = connect(run).await?;
    let sender = connected.publisher(Publish);
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
    run.events(&tally, publish, async || connected.client().flush().await.map_err(text)).await?;
    stop(service, connected).await
}

async fn store_one(sender: &JetStreamPublisher, number: u64) -> Result {
    sender.message(&Placed(Order::new(number, None))).publish().await.map_err(text)
}

/// Events into the store; each caller waits for the confirmation of its own.
async fn store(run: &mut Run<'_>) -> Result {
    let (_, stream) = bare::stream(run).await?;
    let consumer = bare::consumer(&stream).await?;
    let connected = connect(run).await?;
    let sender = connected.publisher(JetStreamPublish::default());
    let call = move |number| {
        let sender = sender.clone();
        async move { store_one(&sender, number).await }
    };
    let load = run.calls(call).await?;
    bare::drain(&consumer, None, &Tally::default(), &load).await?;
    connected.shutdown().await.map(drop).map_err(text)
}

/// Events into the store, many under way.
async fn store_window(run: &mut Run<'_>) -> Result {
    let (_, stream) = bare::stream(run).await?;
    let consumer = bare::consumer(&stream).await?;
    let connected = connect(run).await?;
    let first = fill(&connected, |number| number == WARM_UP).await?;
    run.start()?;
    let (began, time) = (Instant::now(), run.time);
    let load = fill(&connected, move |number| number.is_multiple_of(256) && began.elapsed() > time).await?;
    run.stop(&load)?;
    let load = Load { calls: first.calls + load.calls, sum: first.sum + load.sum, ..load };
    bare::drain(&consumer, None, &Tally::default(), &load).await?;
    connected.shutdown().await.map(drop).map_err(text)
}

/// In a task of its own: what is polled outside of one runs on a third thread.
async fn fill(connected: &ConnectedNatsBroker, over: impl Fn(u64) -> bool + Send + 'static) -> Result<Load> {
    let sender = connected.publisher(JetStreamPublish::default());
    let work = async move {
        let (mut pending, mut number, began) = (FuturesUnordered::new(), 0, Instant::now());
        while !over(number) {
            if pending.len() == WINDOW {
                pending.next().await.transpose()?;
            }
            pending.push(store_one(&sender, number));
            number += 1;
        }
        while pending.next().await.transpose()?.is_some() {}
        Ok(Load { calls: number, sum: sum(number), took: began.elapsed(), waits: Vec::new() })
    };
    tokio::spawn(work).await.map_err(text)?
}

/// Messages that wait in the store: delivered, handled, acknowledged.
async fn deliver(run: &mut Run<'_>) -> Result {
    let (tally, prefilled) = (Tally::default(), run.prefilled);
    let (context, _) = bare::stream(run).await?;
    let load = bare::fill(&context, None, move |number| number == prefilled).await?;
    tally.expect(load.calls);
    run.start()?;
    let service = serve(run, &tally, |broker| {
        broker.include(placed.batch(nonzero!(PULL)));
    })
    .await?;
    tally.check(load.calls, load.sum).await?;
    let took = tally.took().ok_or("nothing was handled")?;
    run.stop(&Load { took, ..load })?;
    until_acknowledged(run.server).await?;
    service.shutdown().await.map_err(text)
}

/// Requests to a handler on another connection.
async fn ask(run: &mut Run<'_>) -> Result {
    let tally = Tally::default();
    let service = serve(run, &tally, |broker| {
        broker.include(answer).out(Answers, Publish).build();
    })
    .await?;
    let connected = connect(run).await?;
    let sender = connected.publisher(Publish);
    let call = move |number| {
        let sender = sender.clone();
        async move {
            let mut body = BytesMut::new();
            JsonCodec.encode_into(&Ask(Order::new(number, None)), &mut body).map_err(text)?;
            let request = OutgoingMessage::produced("bare.orders", body);
            let reply = sender.request(request, PATIENCE).await.map_err(text)?;
            let reply: Order = JsonCodec.decode(reply.payload()).map_err(text)?;
            (reply.number == number).then_some(()).ok_or_else(|| "the reply is for another request".to_owned())
        }
    };
    let load = run.calls(call).await?;
    tally.check(load.calls, load.sum).await?;
    stop(service, connected).await
}
