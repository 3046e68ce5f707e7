//! The same work by hand with what the client has no function for: inboxes of one's own, so that nothing is looked up and no
//! timer is set, and one acknowledgement for all that was handled before it.
//!
//! Who writes so looks after time limits, errors and reconnections alone. It shows how far the protocol goes with one message
//! to a message.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use async_nats::{
    Client, Message, Subject, Subscriber,
    jetstream::consumer::{AckPolicy, pull},
};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    Result,
    bare::{
        self, OPEN, PULL, SUBJECT, WARM_UP_MESSAGES, answer, connect, decode, encode, fill, is_reply, said, subscribe,
    },
    load::Load,
    messages::{Ask, Order, Placed},
    ours::sum,
    row::{Run, until_acknowledged},
    tally::{Tally, under_way},
    text,
};

/// How many messages wait for their acknowledgement: as many as those of `publish_all`.
const WINDOW: u64 = 1_024;
/// How many are acknowledged at a time.
const TOGETHER: usize = 32;

/// Where a caller sends from, and hears its answers: it has one call at a time.
struct Line {
    client: Arc<Client>,
    inbox: Subject,
    answers: Mutex<Subscriber>,
}

impl Line {
    async fn open(client: &Arc<Client>) -> Result<Self> {
        let inbox = Subject::from(client.new_inbox());
        let answers = Mutex::new(subscribe(client, inbox.clone()).await?);
        Ok(Self { client: client.clone(), inbox, answers })
    }

    async fn call(&self, payload: Bytes) -> Result<Message> {
        self.client.publish_with_reply(SUBJECT, self.inbox.clone(), payload).await.map_err(text)?;
        let answers = || self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = poll_fn(|cx| answers().poll_next_unpin(cx)).await;
        answer.filter(|answer| answer.status.is_none()).ok_or_else(|| "there was no answer".to_owned())
    }
}

/// A line for each caller.
async fn lines(client: &Arc<Client>, callers: u64) -> Result<Arc<[Line]>> {
    let mut lines = Vec::new();
    for _ in 0..callers {
        lines.push(Line::open(client).await?);
    }
    Ok(lines.into())
}

/// What the server says of a message that it has stored.
#[derive(Deserialize)]
struct Stored {
    #[serde(default)]
    seq: u64,
    error: Option<IgnoredAny>,
}

/// The number in the stream of what was stored.
fn stored(answer: &Message) -> Result<u64> {
    let stored: Stored = decode(&answer.payload)?;
    (stored.error.is_none() && stored.seq > 0).then_some(stored.seq).ok_or_else(|| "it was not stored".to_owned())
}

/// Messages into the store, one a call.
pub async fn store(run: &mut Run<'_>) -> Result {
    let (size, (_context, stream)) = (run.row.size, bare::stream(run).await?);
    let consumer = bare::consumer(&stream).await?;
    let lines = lines(&connect(run).await?, run.callers.number).await?;
    let call = move |number: u64| {
        let lines = lines.clone();
        async move {
            let payload = encode(&Placed(Order::new(number, size)), size)?;
            stored(&lines[number as usize % lines.len()].call(payload).await?).map(drop)
        }
    };
    let load = run.calls(call).await?;
    bare::drain(&consumer, size, &Tally::default(), &load).await
}

/// Messages into the store, many under way.
pub async fn store_window(run: &mut Run<'_>) -> Result {
    let (size, (_context, stream)) = (run.row.size, bare::stream(run).await?);
    let consumer = bare::consumer(&stream).await?;
    let client = connect(run).await?;
    let warm_up = WARM_UP_MESSAGES.min(4 * under_way(size));
    let first = fill_window(&client, size, 0, move |number| number == warm_up).await?;
    run.start()?;
    let (began, time) = (Instant::now(), run.time);
    let over = move |number: u64| number.is_multiple_of(256) && began.elapsed() > time;
    let load = fill_window(&client, size, first.calls, over).await?;
    run.stop(&load)?;
    let load = Load { calls: first.calls + load.calls, sum: first.sum + load.sum, ..load };
    bare::drain(&consumer, size, &Tally::default(), &load).await
}

/// Stores messages until the number of the next one says that it is over; so many are in the stream.
async fn fill_window(
    client: &Arc<Client>,
    size: Option<usize>,
    before: u64,
    over: impl Fn(u64) -> bool + Send + 'static,
) -> Result<Load> {
    let (client, inbox) = (client.clone(), Subject::from(client.new_inbox()));
    let mut answers = subscribe(&client, inbox.clone()).await?;
    let work = async move {
        let window = WINDOW.min(under_way(size));
        let (began, mut number, mut confirmed) = (Instant::now(), 0, 0);
        loop {
            // They come in the order of the messages.
            let room = if over(number) { 0 } else { window / 2 };
            if room == 0 || number - confirmed == window {
                while number - confirmed > room {
                    let answer = answers.next().await.ok_or("there was no answer")?;
                    confirmed += 1;
                    if stored(&answer)? != before + confirmed {
                        return Err("another message was stored".to_owned());
                    }
                }
                if room == 0 {
                    return Ok(Load { calls: number, sum: sum(number), took: began.elapsed(), waits: Vec::new() });
                }
            }
            let payload = encode(&Placed(Order::new(number, size)), size)?;
            client.publish_with_reply(SUBJECT, inbox.clone(), payload).await.map_err(text)?;
            number += 1;
        }
    };
    tokio::spawn(work).await.map_err(text)?
}

/// Messages that wait in the store: delivered, handled in order, and acknowledged together.
pub async fn deliver(run: &mut Run<'_>) -> Result {
    let tally = Tally::default();
    let (size, (context, stream)) = (run.row.size, bare::stream(run).await?);
    let config = pull::Config {
        durable_name: Some("receiver".to_owned()),
        ack_policy: AckPolicy::All,
        max_ack_pending: OPEN,
        ..pull::Config::default()
    };
    stream.create_consumer(config).await.map_err(text)?;
    let prefilled = run.prefilled;
    let load = fill(&context, size, move |number| number == prefilled).await?;
    let client = connect(run).await?;
    let inbox = Subject::from(client.new_inbox());
    let next = Subject::from(format!("$JS.API.CONSUMER.MSG.NEXT.{}.receiver", run.name));
    let deliveries = subscribe(&client, inbox.clone()).await?;
    run.start()?;
    tally.expect(load.calls);
    let work = tokio::spawn(said(take(client, inbox, next, deliveries, tally.clone())));
    tally.check(load.calls, load.sum).await?;
    let took = tally.took().ok_or("nothing was handled")?;
    let calls = load.calls;
    run.stop(&Load { took, ..load })?;
    run.messages_a_frame(calls, calls as f64);
    let ended = until_acknowledged(run.server).await;
    work.abort();
    ended
}

async fn take(client: Arc<Client>, inbox: Subject, next: Subject, deliveries: Subscriber, tally: Tally) -> Result {
    let question = Bytes::from(format!(r#"{{"batch":{PULL},"expires":30000000000}}"#));
    let (mut deliveries, mut open) = (deliveries.ready_chunks(TOGETHER), 0);
    loop {
        if open <= PULL / 2 {
            client.publish_with_reply(next.clone(), inbox.clone(), question.clone()).await.map_err(text)?;
            open += PULL;
        }
        let mut last = None;
        for message in deliveries.next().await.ok_or("the subscription ended")? {
            if message.status.is_some() {
                return Err("the server ended a pull".to_owned());
            }
            open -= 1;
            tally.handled(decode::<Placed>(&message.payload)?.0.number);
            last = message.reply;
        }
        if let Some(reply) = last {
            client.publish(reply, Bytes::from_static(b"+ACK")).await.map_err(text)?;
        }
    }
}

/// Requests to a subscription that answers where it is.
pub async fn ask(run: &mut Run<'_>) -> Result {
    let (size, tally) = (run.row.size, Tally::default());
    let (receiver, sender) = (connect(run).await?, connect(run).await?);
    let requests = subscribe(&receiver, SUBJECT).await?;
    tokio::spawn(said(answer(receiver, requests, run.row, tally.clone())));
    let lines = lines(&sender, run.callers.number).await?;
    let call = move |number: u64| {
        let lines = lines.clone();
        async move {
            let request = encode(&Ask(Order::new(number, size)), size)?;
            is_reply(number, &lines[number as usize % lines.len()].call(request).await?)
        }
    };
    let load = run.calls(call).await?;
    tally.check(load.calls, load.sum).await
}
