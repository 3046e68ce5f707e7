//! What a node does when its store does what stores seldom do: it is made anew, is full, or has forgotten the node.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use catga::{
    Error, ErrorKind, Event, Kind, Mediator, Message, Outcome, State, handler,
    testing::Harness,
    transport::{
        Capabilities, Consumed, Consumer, DeadContent, Delivery, Envelope, InProcess, Joined, Registration, Settle,
        Settlement, Transport,
    },
};
use catga_tests::Log;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Filed {
    text: String,
    seconds: u64,
}

#[handler]
async fn file(event: Filed, State(log): State<Log>) {
    tokio::time::sleep(Duration::from_secs(event.seconds)).await;
    log.add(event.text);
}

/// A broker with one durable, beside which a test plays another store.
struct Played {
    inner: InProcess,
    deliveries: Mutex<Option<mpsc::Receiver<Delivery>>>,
}

impl Transport for Played {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn join(&self, node: Registration) -> BoxFuture<'_, Result<Joined, Error>> {
        Box::pin(async move {
            let mut joined = self.inner.join(node).await?;
            let (inner, played) = (joined.consumers.remove(0), self.deliveries.lock().unwrap().take().unwrap());
            joined.consumers.push(Box::new(PlayedConsumer { inner, played }));
            Ok(joined)
        })
    }
}

struct PlayedConsumer {
    inner: Box<dyn Consumer>,
    played: mpsc::Receiver<Delivery>,
}

impl Consumer for PlayedConsumer {
    fn next(&mut self, more: bool) -> BoxFuture<'_, Option<Consumed>> {
        Box::pin(async move {
            tokio::select! {
                Some(delivery) = self.played.recv() => Some(Consumed::Delivery(delivery)),
                consumed = self.inner.next(more) => consumed,
            }
        })
    }

    fn close(&mut self) -> BoxFuture<'_, Vec<Delivery>> {
        self.inner.close()
    }
}

/// Writes down how a delivery was settled.
#[derive(Debug)]
struct Noted(mpsc::Sender<Settlement>);

impl Settle for Noted {
    fn settle(&self, settlement: Settlement) -> BoxFuture<'_, Result<(), Error>> {
        let _ = self.0.try_send(settlement);
        Box::pin(async { Ok(()) })
    }
}

/// The number of every delivery that a test plays; beyond those of the broker beside it.
const NUMBER: u64 = 1_000;

/// A delivery, and how it is settled.
fn delivery(count: u32, messages: Result<Envelope, &'static str>) -> (Delivery, mpsc::Receiver<Settlement>) {
    let (noted, settled) = mpsc::channel(64);
    let messages = messages.map(|message| vec![message]).map_err(|bytes| {
        (Bytes::from_static(bytes.as_bytes()), Error::new(ErrorKind::Codec, Outcome::NotStarted, "no message"))
    });
    (Delivery::new(NUMBER, count, messages, Arc::new(Noted(noted))), settled)
}

fn filed(text: &str, seconds: u64) -> Result<Envelope, &'static str> {
    let payload = serde_json::to_vec(&Filed { text: text.into(), seconds }).unwrap();
    Ok(Envelope::new(Filed::NAME.into(), Kind::Event, &"store".into(), payload.into()))
}

/// A node whose store a test plays.
async fn node(harness: &Harness, log: &Log) -> (Mediator, mpsc::Sender<Delivery>) {
    let (sender, deliveries) = mpsc::channel(8);
    let played = Played { inner: harness.broker().clone(), deliveries: Mutex::new(Some(deliveries)) };
    let builder = harness.node_on(played, "node1").discover(false).state(log.clone()).handler(file);
    (builder.build().await.unwrap(), sender)
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_made_anew_and_counts_again_loses_nothing() {
    let (harness, log) = (Harness::new(), Log::default());
    let (_node, store) = node(&harness, &log).await;
    let (first, mut settled) = delivery(1, filed("first", 0));
    store.send(first).await.unwrap();
    assert_eq!(settled.recv().await, Some(Settlement::Acknowledge));
    // Under the same number, and its first delivery was lost.
    let (second, mut settled) = delivery(2, filed("second", 0));
    store.send(second).await.unwrap();
    assert_eq!(settled.recv().await, Some(Settlement::Acknowledge));
    harness.settled().await.unwrap();
    assert_eq!(log.lines(), ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_under_the_number_of_one_that_is_open_waits_for_its_turn() {
    let (harness, log) = (Harness::new(), Log::default());
    let (_node, store) = node(&harness, &log).await;
    let (first, mut first_settled) = delivery(1, filed("first", 5));
    let (second, mut second_settled) = delivery(1, filed("second", 0));
    store.send(first).await.unwrap();
    store.send(second).await.unwrap();
    assert!(matches!(second_settled.recv().await, Some(Settlement::GiveBack(_))));
    assert_eq!(first_settled.recv().await, Some(Settlement::Acknowledge));
    assert_eq!(log.lines(), ["first"]);
}

#[tokio::test(start_paused = true)]
async fn deliveries_that_cannot_be_read_are_dead_letters_of_their_own_also_under_one_number() {
    let (harness, log) = (Harness::new(), Log::default());
    let (node, store) = node(&harness, &log).await;
    for bytes in ["these", "those"] {
        let (unreadable, mut settled) = delivery(4, Err(bytes));
        store.send(unreadable).await.unwrap();
        assert_eq!(settled.recv().await, Some(Settlement::Acknowledge));
    }
    let letters = node.dead_letters().list(None, 10).await.unwrap();
    let unreadable = letters.into_iter().map(|letter| match letter.content {
        DeadContent::Unreadable(bytes) => bytes,
        other => panic!("{other:?}"),
    });
    assert_eq!(unreadable.collect::<Vec<_>>(), ["these", "those"]);
}
