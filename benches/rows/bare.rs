//! The native twins: the same work by hand with async-nats, as fast as it goes.
//!
//! Subjects are made beforehand, acknowledgements are awaited in a window, requests are answered where they arrive, nothing is
//! cloned that can be shared. No message has a header, but in one row: unlike catga, what is published twice is stored twice.
//!
//! These are what the client offers for the purpose; `tuned` goes past it.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use async_nats::{
    Client, ConnectOptions, HeaderMap, Message, Subject, Subscriber,
    header::NATS_MESSAGE_ID,
    jetstream::{
        self, AckKind, Context,
        consumer::{Consumer, pull},
        context::PublishAckFuture,
        stream::{self, StorageType, Stream},
    },
};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use super::{
    Result,
    load::Load,
    messages::{Ask, Order, Placed, Seen},
    ours::sum,
    row::{ASLEEP, Row, Run, Work, until_acknowledged},
    tally::{Tally, under_way},
    text,
};

/// Where everything goes.
pub const SUBJECT: Subject = Subject::from_static("bare.orders");
/// What the server answers to anybody.
const ROUND_TRIP: Subject = Subject::from_static("$SYS.REQ.USER.INFO");
/// How many messages wait for their acknowledgement.
const WINDOW: usize = 512;
/// How many messages are stored before anything is measured.
pub const WARM_UP_MESSAGES: u64 = 10_000;
/// How many messages are asked for at a time.
pub const PULL: usize = 1_000;
/// How many deliveries may be open.
pub const OPEN: i64 = 10_000;
/// How many messages wait for the connection, at most: nobody waits for room.
const ROOM: usize = 1 << 16;

/// A client to be shared: a clone allocates.
pub async fn connect(run: &Run<'_>) -> Result<Arc<Client>> {
    let options = ConnectOptions::new().client_capacity(ROOM).skip_subject_validation(true);
    options.connect(run.server.url()).await.map(Arc::new).map_err(text)
}

/// About as many bytes as it takes are allocated at once.
pub fn encode(message: &impl serde::Serialize, size: Option<usize>) -> Result<Bytes> {
    let mut bytes = BytesMut::with_capacity(size.unwrap_or(70) + 26).writer();
    serde_json::to_writer(&mut bytes, message).map_err(text)?;
    Ok(bytes.into_inner().freeze())
}

/// What the bytes say.
pub fn decode<M: DeserializeOwned>(payload: &[u8]) -> Result<M> {
    serde_json::from_slice(payload).map_err(text)
}

/// Returns when the server has the subscription, too.
pub async fn subscribe(client: &Client, subject: Subject) -> Result<Subscriber> {
    let subscriber = client.subscribe(subject).await.map_err(text)?;
    client.request(ROUND_TRIP, Bytes::new()).await.map_err(text)?;
    Ok(subscriber)
}

/// Events to a subscription.
pub async fn publish(run: &mut Run<'_>) -> Result {
    let (size, tally) = (run.row.size, Tally::new(run.row.size, run.row.paced));
    let (receiver, sender) = (connect(run).await?, connect(run).await?);
    let mut events = subscribe(&receiver, SUBJECT).await?;
    let counting = tally.clone();
    tokio::spawn(async move {
        while let Some(message) = events.next().await {
            // What cannot be read is missing in the end.
            if let Ok(event) = decode::<Seen>(&message.payload) {
                counting.handled(event.0.number);
            }
        }
    });
    let publish = {
        let (sender, tally) = (sender.clone(), tally.clone());
        move |number| {
            let (sender, tally) = (sender.clone(), tally.clone());
            async move {
                tally.room(number).await;
                sender.publish(SUBJECT, encode(&Seen(Order::new(number, size)), size)?).await.map_err(text)
            }
        }
    };
    run.events(&tally, publish, async || sender.flush().await.map_err(text)).await
}

/// A stream in files.
pub async fn stream(run: &Run<'_>) -> Result<(Arc<Context>, Stream)> {
    let context = jetstream::new(Client::clone(&*connect(run).await?));
    let config = stream::Config {
        name: run.name.clone(),
        subjects: vec![SUBJECT.to_string()],
        storage: StorageType::File,
        ..stream::Config::default()
    };
    let stream = context.create_stream(config).await.map_err(text)?;
    Ok((Arc::new(context), stream))
}

/// Somebody who wants everything in it.
pub async fn consumer(stream: &Stream) -> Result<Consumer<pull::Config>> {
    let config =
        pull::Config { durable_name: Some("receiver".to_owned()), max_ack_pending: OPEN, ..pull::Config::default() };
    stream.create_consumer(config).await.map_err(text)
}

/// Messages into the store, one a call; with an id, the store takes none twice.
pub async fn store(run: &mut Run<'_>, id: bool) -> Result {
    /// The numbers of messages begin again after the warm-up.
    static IDS: AtomicU64 = AtomicU64::new(0);
    let (context, stream) = stream(run).await?;
    let consumer = consumer(&stream).await?;
    let size = run.row.size;
    let call = move |number| {
        let context = context.clone();
        async move {
            let payload = encode(&Placed(Order::new(number, size)), size)?;
            let stored = if id {
                let mut headers = HeaderMap::new();
                headers.insert(NATS_MESSAGE_ID, format!("{:032x}", IDS.fetch_add(1, Relaxed)));
                context.publish_with_headers(SUBJECT, headers, payload).await
            } else {
                context.publish(SUBJECT, payload).await
            };
            stored.map_err(text)?.await.map(drop).map_err(text)
        }
    };
    let load = run.calls(call).await?;
    drain(&consumer, size, &Tally::default(), &load).await
}

/// Messages into the store, many under way.
pub async fn store_window(run: &mut Run<'_>) -> Result {
    let (size, (context, stream)) = (run.row.size, stream(run).await?);
    let consumer = consumer(&stream).await?;
    let warm_up = WARM_UP_MESSAGES.min(4 * under_way(size));
    let first = fill(&context, size, move |number| number == warm_up).await?;
    run.start()?;
    let (began, time) = (Instant::now(), run.time);
    // A look at the clock each time would cost, too.
    let load = fill(&context, size, move |number| number.is_multiple_of(256) && began.elapsed() > time).await?;
    run.stop(&load)?;
    let load = Load { calls: first.calls + load.calls, sum: first.sum + load.sum, ..load };
    drain(&consumer, size, &Tally::default(), &load).await
}

/// Stores messages until the number of the next one says that it is over. In a task of its own: what is polled outside of
/// one runs on a third thread.
pub async fn fill(
    context: &Arc<Context>,
    size: Option<usize>,
    over: impl Fn(u64) -> bool + Send + 'static,
) -> Result<Load> {
    tokio::spawn(publish_window(context.clone(), size, over)).await.map_err(text)?
}

async fn publish_window(context: Arc<Context>, size: Option<usize>, over: impl Fn(u64) -> bool) -> Result<Load> {
    let window = WINDOW.min(under_way(size) as usize);
    let mut pending = VecDeque::<PublishAckFuture>::with_capacity(window);
    let (began, mut number) = (Instant::now(), 0);
    while !over(number) {
        if pending.len() == window
            && let Some(oldest) = pending.pop_front()
        {
            oldest.await.map_err(text)?;
        }
        let stored = context.publish(SUBJECT, encode(&Placed(Order::new(number, size)), size)?).await.map_err(text)?;
        pending.push_back(stored);
        number += 1;
    }
    for stored in pending {
        stored.await.map_err(text)?;
    }
    Ok(Load { calls: number, sum: sum(number), took: began.elapsed(), waits: Vec::new() })
}

/// Takes, counts and acknowledges everything that was stored.
pub async fn drain(consumer: &Consumer<pull::Config>, size: Option<usize>, tally: &Tally, stored: &Load) -> Result {
    tally.expect(stored.calls);
    let (consumer, counting) = (consumer.clone(), tally.clone());
    let batch = PULL.min(under_way(size) as usize);
    let work = async move {
        let mut deliveries = consumer.stream().max_messages_per_batch(batch).messages().await.map_err(text)?;
        while let Some(delivery) = deliveries.next().await {
            let delivery = delivery.map_err(text)?;
            counting.handled(decode::<Placed>(&delivery.payload)?.0.number);
            delivery.ack_with(AckKind::Ack).await.map_err(text)?;
        }
        Ok::<_, String>(())
    };
    let work = tokio::spawn(said(work));
    let checked = tally.check(stored.calls, stored.sum).await;
    // The last acknowledgements leave.
    tokio::time::sleep(Duration::from_millis(20)).await;
    work.abort();
    checked
}

/// Messages that wait in the store: delivered, handled, acknowledged.
pub async fn deliver(run: &mut Run<'_>) -> Result {
    let tally = Tally::default();
    let (size, (context, stream)) = (run.row.size, stream(run).await?);
    let consumer = consumer(&stream).await?;
    let prefilled = run.prefilled;
    let load = fill(&context, size, move |number| number == prefilled).await?;
    run.start()?;
    drain(&consumer, size, &tally, &load).await?;
    let took = tally.took().ok_or("nothing was handled")?;
    let calls = load.calls;
    run.stop(&Load { took, ..load })?;
    run.messages_a_frame(calls, calls as f64);
    until_acknowledged(run.server).await
}

/// Requests to a subscription that answers where it is.
pub async fn ask(run: &mut Run<'_>) -> Result {
    let (size, tally) = (run.row.size, Tally::default());
    let (receiver, sender) = (connect(run).await?, connect(run).await?);
    let requests = subscribe(&receiver, SUBJECT).await?;
    tokio::spawn(said(answer(receiver, requests, run.row, tally.clone())));
    let call = move |number| {
        let sender = sender.clone();
        async move {
            let request = encode(&Ask(Order::new(number, size)), size)?;
            is_reply(number, &sender.request(SUBJECT, request).await.map_err(text)?)
        }
    };
    let load = run.calls(call).await?;
    tally.check(load.calls, load.sum).await
}

/// Says why work in a task of its own ended, which the one who counts would miss.
pub async fn said(work: impl Future<Output = Result>) {
    if let Err(error) = work.await {
        eprintln!("the other end: {error}");
    }
}

/// Answers requests.
pub async fn answer(receiver: Arc<Client>, mut requests: Subscriber, row: Row, counting: Tally) -> Result {
    while let Some(message) = requests.next().await {
        if let (Ok(ask), Some(reply)) = (decode::<Ask>(&message.payload), message.reply) {
            counting.handled(ask.0.number);
            if row.work == Work::AskSlow {
                let receiver = receiver.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(ASLEEP).await;
                    receiver.publish(reply, encode(&ask.0, row.size)?).await.map_err(text)
                });
            } else {
                receiver.publish(reply, encode(&ask.0, row.size)?).await.map_err(text)?;
            }
        }
    }
    Ok(())
}

/// Whether this answers the request of that number.
pub fn is_reply(number: u64, message: &Message) -> Result {
    let reply: Order = decode(&message.payload)?;
    (reply.number == number).then_some(()).ok_or_else(|| "the reply is for another request".to_owned())
}
