//! What a node does when its store does what stores seldom do: it is made anew, is full, or has forgotten the node.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use catga::{
    Context, Error, ErrorKind, Event, Failure, Kind, Limits, Mediator, Message, Outcome, State, handler,
    testing::Harness,
    transport::{
        Capabilities, Consumed, Consumer, DeadContent, Delivery, Envelope, InProcess, Joined, Registration, RetryPart,
        Settle, Settlement, Transport,
    },
};
use catga_tests::Log;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::link::{Before, Guarded, Step};

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Filed {
    text: String,
    seconds: u64,
}

#[handler(name = "store.file")]
async fn file(event: Filed, State(log): State<Log>) {
    tokio::time::sleep(Duration::from_secs(event.seconds)).await;
    log.add(event.text);
}

/// Fails twice, then succeeds.
#[handler(attempts = 3, backoff = "1s", name = "store.file_at_last")]
async fn file_at_last(event: Filed, ctx: Context, State(log): State<Log>) -> Result<(), Failure> {
    log.add(format!("{} {}", event.text, ctx.attempt()));
    if ctx.attempt() < 3 { Err(Failure::new("busy", "later")) } else { Ok(()) }
}

/// A broker with one durable, beside which a test plays another store.
struct Played {
    inner: InProcess,
    /// What the store answers who stores a message again, the how-manyeth times, and how often it was asked.
    refuses: Option<(ErrorKind, Range<usize>)>,
    refused: Arc<AtomicUsize>,
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
            if let Some((kind, times)) = self.refuses.clone() {
                let refused = self.refused.clone();
                let before: Before = Arc::new(move |step| {
                    let refuses = step == Step::StoreFor && times.contains(&refused.fetch_add(1, Ordering::SeqCst));
                    let result = if refuses { Err(Error::new(kind, Outcome::NotStarted, "refused")) } else { Ok(()) };
                    Box::pin(std::future::ready(result))
                });
                joined.link = Arc::new(Guarded { inner: joined.link, before });
            }
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
    let played = played(harness, None, deliveries);
    let builder = harness.node_on(played, "node1").discover(false).state(log.clone()).handler(file);
    (builder.build().await.unwrap(), sender)
}

/// A store that refuses this often to take a message back.
fn refusing(harness: &Harness, kind: ErrorKind, times: Range<usize>) -> Played {
    played(harness, Some((kind, times)), mpsc::channel(1).1)
}

fn played(
    harness: &Harness,
    refuses: Option<(ErrorKind, Range<usize>)>,
    deliveries: mpsc::Receiver<Delivery>,
) -> Played {
    let deliveries = Mutex::new(Some(deliveries));
    Played { inner: harness.broker().clone(), refuses, refused: Arc::default(), deliveries }
}

#[tokio::test(start_paused = true)]
async fn what_the_store_refuses_to_take_back_runs_again_from_where_it_is() {
    for refuses in [ErrorKind::Overloaded, ErrorKind::NotFound] {
        let (harness, log) = (Harness::new(), Log::default());
        let played = refusing(&harness, refuses, 0..usize::MAX);
        let refused = played.refused.clone();
        let builder = harness.node_on(played, "node1").discover(false).state(log.clone()).handler(file_at_last);
        let node = builder.build().await.unwrap();
        node.publish_all(["a", "b"].map(|text| Filed { text: text.into(), seconds: 0 })).await.unwrap();
        harness.settled().await.unwrap();
        let mut lines = log.lines();
        lines.sort();
        assert_eq!(lines, ["a 1", "a 2", "a 3", "b 1", "b 2", "b 3"]);
        assert_eq!(refused.load(Ordering::SeqCst), 4, "one try for each run that failed");
        assert!(node.dead_letters().list(None, 1).await.unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_the_store_holds_may_wait_for_its_next_run() {
    let log = Log::default();
    let harness = Harness::on(InProcess::builder().max_bytes(100 << 10).build().unwrap());
    let builder = harness.node("node1").discover(false).state(log.clone()).handler(file_at_last);
    let node = builder.build().await.unwrap();
    for number in 0..30_u32 {
        node.publish(Filed { text: format!("{number:010000}"), seconds: 0 }).await.unwrap();
    }
    harness.settled().await.unwrap();
    assert_eq!(harness.record().handled::<Filed>().count(), 30);
    assert_eq!((harness.record().failed::<Filed>().count(), log.len()), (60, 90));
    assert_eq!(node.counts().lagged, 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_shuts_down_gives_back_what_the_store_refused() {
    let (harness, log) = (Harness::new(), Log::default());
    let played = refusing(&harness, ErrorKind::Overloaded, 0..usize::MAX);
    let builder = harness.node_on(played, "node1").discover(false).state(log.clone()).handler(file_at_last);
    let limits = Limits { shutdown: Duration::from_millis(400), ..Limits::default() };
    let first = builder.limits(limits).build().await.unwrap();
    let _second = harness.node("node2").discover(false).build().await.unwrap();
    first.publish_all(["a", "b"].map(|text| Filed { text: text.into(), seconds: 0 })).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(first.shutdown().await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(log.len(), 2, "the second run comes after a second");
    let builder = harness.node("node1").discover(false).state(log.clone()).handler(file_at_last);
    let _first = builder.build().await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!((log.count("a 3"), log.count("b 3")), (1, 1), "{:?}", log.lines());
}

#[handler(group = "files", concurrency = 1, name = "store.file_in_turn")]
async fn file_in_turn(event: Filed, State(log): State<Log>) {
    tokio::time::sleep(Duration::from_secs(event.seconds)).await;
    log.add(event.text);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_shuts_down_gives_nothing_back_of_which_a_part_was_stored() {
    let (harness, log) = (Harness::new(), Log::default());
    let played = refusing(&harness, ErrorKind::Overloaded, 1..2);
    let first = harness.node_on(played, "node1").discover(false).state(log.clone()).handler(file_in_turn);
    let first = first.build().await.unwrap();
    // They share a delivery, of which the first one runs when the node stops.
    first.publish_all(["a", "b", "c", "d"].map(|text| Filed { text: text.into(), seconds: 1 })).await.unwrap();
    let second = harness.node("node2").discover(false).state(log.clone()).handler(file_in_turn);
    let _second = second.build().await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    first.shutdown().await.unwrap();
    harness.settled().await.unwrap();
    let mut lines = log.lines();
    lines.sort();
    assert_eq!(lines, ["a", "b", "c", "d"]);
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

#[tokio::test(start_paused = true)]
async fn copies_of_a_suspect_that_wait_while_one_of_them_runs_are_not_run() {
    let (harness, log) = (Harness::new(), Log::default());
    let (node, store) = node(&harness, &log).await;
    let message = filed("once", 1).unwrap();
    // Members of a group that were cut off leave such copies behind: two suspects, and one that is none.
    for (number, crashes) in [(NUMBER, 3), (NUMBER + 1, 3), (NUMBER + 2, 0)] {
        let handler = "store.file".to_owned();
        let retry = RetryPart { handler, attempt: 1, crashes, declared: false, replays: 0 };
        let mut copy = message.clone();
        copy.retry = Some(Box::new(retry));
        let (noted, _) = mpsc::channel(64);
        store.send(Delivery::new(number, 1, Ok(vec![copy]), Arc::new(Noted(noted)))).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    harness.settled().await.unwrap();
    assert_eq!(log.lines(), ["once"]);
    assert_eq!(node.counts().duplicates, 2);
}
