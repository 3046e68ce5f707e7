//! The rows with catga, as an application would write them: defaults throughout.

use catga::{Builder, Mediator, transport::Nats};

use super::{
    Result,
    load::{self, Callers, Load},
    messages::{Ask, Order, Placed, Seen, answer, answer_asleep, placed, seen},
    row::{Run, Work, until_acknowledged},
    tally::Tally,
    text,
};

/// How many events one `publish_all` is given.
const BATCH: u64 = 4_096;

async fn node(run: &Run<'_>, id: &str, tally: &Tally, describe: impl FnOnce(Builder) -> Builder) -> Result<Mediator> {
    let nats = Nats::connect(run.server.url()).await.map_err(text)?;
    let builder = Mediator::builder().app(&run.name).node(id).transport(nats).discover(false).state(tally.clone());
    describe(builder).build().await.map_err(text)
}

async fn shut_down<const N: usize>(nodes: [Mediator; N]) -> Result {
    for node in nodes {
        node.shutdown().await.map_err(text)?;
    }
    Ok(())
}

/// Events of QoS 0 from one node to the handler of another.
pub async fn publish(run: &mut Run<'_>) -> Result {
    let (size, tally) = (run.row.size, Tally::new(run.row.size, run.row.paced));
    let receiver = node(run, "receiver", &tally, |builder| builder.handler(seen)).await?;
    let sender = node(run, "sender", &tally, |builder| builder).await?;
    let publish = {
        let (sender, tally) = (sender.clone(), tally.clone());
        move |number| {
            let (sender, tally) = (sender.clone(), tally.clone());
            async move {
                tally.room(number).await;
                sender.publish(Seen(Order::new(number, size))).await.map_err(text)
            }
        }
    };
    run.events(&tally, publish, async || Ok(())).await?;
    shut_down([sender, receiver]).await
}

/// Reliable events into the store, one a call; then whoever they are for counts them.
pub async fn store(run: &mut Run<'_>) -> Result {
    stored(run, async |run, sender| {
        let size = run.row.size;
        let call = move |number| {
            let sender = sender.clone();
            async move { sender.publish(Placed(Order::new(number, size))).await.map_err(text) }
        };
        run.calls(call).await
    })
    .await
}

/// Reliable events into the store, many a call.
pub async fn store_all(run: &mut Run<'_>) -> Result {
    stored(run, async |run, sender| {
        let first = fill(&sender, BATCH).await?;
        let call = move |batch| {
            let sender = sender.clone();
            async move {
                let orders = (batch * BATCH..(batch + 1) * BATCH).map(|number| Placed(Order::new(number, None)));
                sender.publish_all(orders).await.map(drop).map_err(text)
            }
        };
        run.start()?;
        let batches = load::call(Callers::ONE, run.time, call).await?;
        let calls = batches.calls * BATCH;
        let load = Load { calls, sum: sum(calls), took: batches.took, waits: Vec::new() };
        run.stop(&load)?;
        Ok(Load { calls: first.calls + load.calls, sum: first.sum + load.sum, ..load })
    })
    .await
}

async fn fill(sender: &Mediator, messages: u64) -> Result<Load> {
    let orders = (0..messages).map(|number| Placed(Order::new(number, None)));
    sender.publish_all(orders).await.map_err(text)?;
    Ok(Load { calls: messages, sum: sum(messages), ..Load::default() })
}

/// The sum of so many numbers, from 0 on.
pub fn sum(messages: u64) -> u64 {
    messages * messages.saturating_sub(1) / 2
}

/// Lets a node that is away wait for what is stored, and counts what it gets when it is back.
async fn stored(run: &mut Run<'_>, work: impl AsyncFnOnce(&mut Run<'_>, Mediator) -> Result<Load>) -> Result {
    let tally = Tally::default();
    let describe = |builder: Builder| builder.handler(placed);
    shut_down([node(run, "receiver", &tally, describe).await?]).await?;
    let sender = node(run, "sender", &tally, |builder| builder).await?;
    let load = work(run, sender.clone()).await?;
    let receiver = node(run, "receiver", &tally, describe).await?;
    tally.check(load.calls, load.sum).await?;
    shut_down([sender, receiver]).await
}

/// Reliable events that wait in the store: delivered, handled, acknowledged.
pub async fn deliver(run: &mut Run<'_>) -> Result {
    let tally = Tally::default();
    let describe = |builder: Builder| builder.handler(placed);
    shut_down([node(run, "receiver", &tally, describe).await?]).await?;
    let sender = node(run, "sender", &tally, |builder| builder).await?;
    run.start()?;
    let load = fill(&sender, run.prefilled).await?;
    let frames = run.frames()?;
    shut_down([sender]).await?;
    tally.expect(load.calls);
    run.start()?;
    let receiver = node(run, "receiver", &tally, describe).await?;
    tally.check(load.calls, load.sum).await?;
    let took = tally.took().ok_or("nothing was handled")?;
    run.stop(&Load { took, ..load })?;
    run.messages_a_frame(load.calls, frames);
    until_acknowledged(run.server).await?;
    shut_down([receiver]).await
}

/// Requests to another node.
pub async fn ask(run: &mut Run<'_>) -> Result {
    let (size, tally) = (run.row.size, Tally::default());
    let work = run.row.work;
    let receiver = node(run, "receiver", &tally, |builder| match work {
        Work::AskSlow => builder.handler(answer_asleep),
        _ => builder.handler(answer),
    })
    .await?;
    let sender = node(run, "sender", &tally, |builder| builder).await?;
    let call = {
        let sender = sender.clone();
        move |number| {
            let sender = sender.clone();
            async move {
                let reply = sender.send(Ask(Order::new(number, size))).await.map_err(text)?;
                (reply.number == number).then_some(()).ok_or_else(|| "the reply is for another request".to_owned())
            }
        }
    };
    let load = run.calls(call).await?;
    tally.check(load.calls, load.sum).await?;
    shut_down([sender, receiver]).await
}
