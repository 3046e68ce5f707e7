//! What a handler emits: leaves when it has succeeded, under an id that a second run gives again.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use catga::{
    Command, Context, ErrorKind, Event, Failure, Limits, PublishOptions, Query, SendOptions, State, handler,
    testing::{Fault, Harness, Traffic},
};
use catga_tests::Log;
use serde::{Deserialize, Serialize};

#[derive(Command, Clone, Serialize, Deserialize)]
struct Place {
    fail: bool,
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Placed {
    item: String,
}

#[derive(Event, Clone, Serialize, Deserialize)]
struct Noticed {
    item: String,
}

#[handler]
async fn place(command: Place, ctx: Context) -> Result<(), Failure> {
    ctx.emit(Placed { item: "tea".into() });
    ctx.emit(Placed { item: "tea".into() });
    ctx.emit(Noticed { item: "tea".into() });
    if command.fail { Err(Failure::new("no", "not today")) } else { Ok(()) }
}

#[handler]
async fn note_placed(event: Placed, State(log): State<Log>, ctx: Context) {
    log.add(format!("placed {} {}", event.item, ctx.node()));
    ctx.emit(Billed { item: event.item });
}

#[handler]
async fn note_noticed(event: Noticed, State(log): State<Log>, ctx: Context) {
    log.add(format!("noticed {} {}", event.item, ctx.node()));
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Billed {
    item: String,
}

#[handler(group = "billing")]
async fn bill(event: Billed, State(log): State<Log>, ctx: Context) {
    log.add(format!("billed {} {} {}", event.item, ctx.correlation(), ctx.causation().is_some()));
}

/// Slow on the first node; on the others each item in its own time, so that they leave in frames of their own.
#[handler(group = "relay", timeout = "100s")]
async fn relay(event: Placed, ctx: Context) {
    let seconds = match (ctx.node(), &*event.item) {
        ("node1", _) => 90,
        (_, "tea") => 5,
        _ => 6,
    };
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    ctx.emit(Billed { item: event.item });
}

#[derive(Query, Clone, Serialize, Deserialize)]
#[response((String, String))]
struct Outer {}

#[derive(Query, Clone, Serialize, Deserialize)]
#[response(String)]
struct Inner {}

#[handler]
async fn outer(_: Outer, ctx: Context) -> Result<(String, String), Failure> {
    Ok((ctx.correlation().to_string(), ctx.send(Inner {}).await?))
}

#[handler]
async fn inner(_: Inner, ctx: Context) -> String {
    ctx.correlation().to_string()
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_handler_emitted_never_leaves_and_what_a_successful_one_emitted_does() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = harness.node("node1").discover(false).state(log.clone());
    let node = node.handler(place).handler(note_placed).handler(note_noticed).build().await.unwrap();
    node.send(Place { fail: true }).await.unwrap_err();
    harness.settled().await.unwrap();
    assert!(log.is_empty());
    node.send(Place { fail: false }).await.unwrap();
    harness.settled().await.unwrap();
    let mut lines = log.lines();
    lines.sort();
    assert_eq!(lines, ["noticed tea node1", "placed tea node1", "placed tea node1"]);
    assert_eq!(harness.record().emitted::<Placed>().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_reply_does_not_come_before_what_was_emitted_is_stored() {
    let harness = Harness::new();
    let node = harness.node("node1").discover(false).handler(place).build().await.unwrap();
    harness.inject(Fault::drop(Traffic::StoreConfirmation).times(1)).await;
    let start = tokio::time::Instant::now();
    node.send(Place { fail: false }).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(2), "the confirmation was lost and had to be asked for again");
}

#[tokio::test(start_paused = true)]
async fn a_second_run_that_emits_the_same_is_recognised() {
    let (harness, log) = (Harness::new(), Log::default());
    let biller = harness.node("biller").discover(false).state(log.clone()).handler(bill).build().await.unwrap();
    let worker = || harness.node("worker").discover(false).state(log.clone()).handler(note_placed);
    let first = worker().build().await.unwrap();
    // The worker emits and dies before its acknowledgement arrives: it runs again when it is back.
    harness.inject(Fault::drop(Traffic::Acknowledgement).from("worker")).await;
    biller.publish(Placed { item: "tea".into() }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    first.kill();
    harness.heal().await;
    let _second = worker().build().await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(log.count("placed tea worker"), 2, "a kill between effect and mark adds one run");
    let billed = log.lines().iter().filter(|line| line.starts_with("billed")).count();
    assert_eq!(billed, 1, "both runs emitted the same message");
}

#[tokio::test(start_paused = true)]
async fn what_the_same_handler_emits_on_each_node_is_a_message_for_each_node() {
    let (harness, log) = (Harness::new(), Log::default());
    let biller = harness.node("biller").discover(false).state(log.clone()).handler(bill).build().await.unwrap();
    for id in ["node1", "node2", "node3"] {
        harness.node(id).discover(false).state(log.clone()).handler(note_placed).build().await.unwrap();
    }
    // Alone, and several that share frames.
    biller.publish(Placed { item: "tea".into() }).await.unwrap();
    harness.settled().await.unwrap();
    biller.publish_all((0..9).map(|number| Placed { item: number.to_string() })).await.unwrap();
    harness.settled().await.unwrap();
    let billed = log.lines().iter().filter(|line| line.starts_with("billed")).count();
    assert_eq!(billed, 30, "three nodes emitted a message for each of ten");
}

#[tokio::test(start_paused = true)]
async fn what_a_node_that_was_cut_off_emits_late_is_known_from_the_one_that_took_its_place() {
    let (harness, log) = (Harness::new(), Log::default());
    let biller = harness.node("biller").discover(false).state(log.clone()).handler(bill).build().await.unwrap();
    let limits = || Limits { ack_wait: Duration::from_secs(2), ..Limits::default() };
    let relay = |node: &str| harness.node(node).discover(false).limits(limits()).handler(relay).build();
    let _first = relay("node1").await.unwrap();
    biller.publish_all(["tea", "milk"].map(|item| Placed { item: item.into() })).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let _second = relay("node2").await.unwrap();
    harness.inject(Fault::cut("node1")).await;
    tokio::time::sleep(Duration::from_secs(80)).await;
    assert_eq!(log.len(), 2, "node2 was to emit in place of node1");
    harness.heal().await;
    harness.settled().await.unwrap();
    assert_eq!(harness.record().emitted::<Billed>().count(), 4);
    assert_eq!(log.len(), 2, "{:?}", log.lines());
}

#[tokio::test(start_paused = true)]
async fn correlation_goes_on_through_events_and_requests() {
    let (harness, log) = (Harness::new(), Log::default());
    let _far = harness.node("far").discover(false).handler(inner).build().await.unwrap();
    let near = harness.node("near").discover(false).state(log.clone());
    let near = near.handler(outer).handler(note_placed).handler(bill).build().await.unwrap();
    let (outer, inner) = near.send(Outer {}).await.unwrap();
    assert_eq!(outer, inner);
    let id = catga::MessageId::new();
    let options = catga::PublishOptions { id: Some(id), ..Default::default() };
    near.publish_with(Placed { item: "tea".into() }, options).await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(log.count(&format!("billed tea {id} true")), 1, "{:?}", log.lines());
}

#[derive(Command, Clone, Serialize, Deserialize)]
struct Flood {}

static REFUSED: AtomicU32 = AtomicU32::new(0);

#[derive(Event, Clone, Serialize, Deserialize)]
struct Water {}

impl Drop for Water {
    fn drop(&mut self) {
        REFUSED.fetch_add(1, Ordering::Relaxed);
    }
}

#[handler]
async fn flood(_: Flood, ctx: Context, State(log): State<Log>) {
    for _ in 0..25_000 {
        ctx.emit(Water {});
    }
    log.add(format!("{} were not kept", REFUSED.load(Ordering::Relaxed)));
}

#[derive(Query, Clone, Serialize, Deserialize)]
#[response(())]
struct Tell {}

/// Publishes at once, both kinds, and asks: what it causes is of its conversation.
#[handler]
async fn tell(_: Tell, ctx: Context, State(log): State<Log>) -> Result<(), Failure> {
    log.add(format!("told {} {}", ctx.correlation(), ctx.id()));
    let headers = ctx.headers().clone();
    ctx.publish(Noticed { item: "at once".into() }).await?;
    ctx.publish_with(Billed { item: "x".into() }, PublishOptions { headers, ..Default::default() }).await?;
    ctx.send_with(Ask {}, SendOptions { key: Some("1".into()), ..Default::default() }).await?;
    Err(Failure::new("no", "what was published has left all the same"))
}

#[derive(Command, Clone, Serialize, Deserialize)]
struct Ask {}

#[handler]
async fn asked(_: Ask, ctx: Context, State(log): State<Log>) {
    log.add(format!("asked {} {}", ctx.correlation(), ctx.causation().unwrap()));
}

#[handler]
async fn hear(_: Noticed, ctx: Context, State(log): State<Log>) {
    log.add(format!("heard {} {}", ctx.correlation(), ctx.causation().unwrap()));
}

#[handler(name = "emit.pay")]
async fn pay(_: Billed, ctx: Context, State(log): State<Log>) {
    let tenant = ctx.headers().get("tenant").unwrap_or_default();
    log.add(format!("paid {} {} {tenant}", ctx.correlation(), ctx.causation().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_publishes_and_sends_at_once_is_of_its_conversation() {
    let log = Log::default();
    let harness = Harness::new();
    let node = |id: &str| harness.node(id).discover(false).state(log.clone()).handler(hear);
    let first = node("node1").handler(tell).handler(asked).handler(pay).build().await.unwrap();
    let _second = node("node2").build().await.unwrap();
    let mut headers = catga::Headers::new();
    headers.insert("tenant", "acme").unwrap();
    first.send_with(Tell {}, SendOptions { headers, ..Default::default() }).await.unwrap_err();
    harness.settled().await.unwrap();
    let lines = log.lines();
    let chain = lines[0].strip_prefix("told ").unwrap();
    assert_eq!(log.count(&format!("heard {chain}")), 2, "{lines:?}");
    assert_eq!(log.count(&format!("asked {chain}")), 1, "{lines:?}");
    assert_eq!(log.count(&format!("paid {chain} acme")), 1, "{lines:?}");
}

#[derive(Command, Clone, Serialize, Deserialize)]
struct Trace {}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Traced {
    how: String,
}

#[handler]
async fn trace(_: Trace, ctx: Context) -> Result<(), Failure> {
    ctx.emit(Traced { how: "emitted".into() });
    ctx.publish(Traced { how: "published".into() }).await?;
    let mut headers = catga::Headers::new();
    headers.insert("traceparent", "00-own").unwrap();
    ctx.publish_with(Traced { how: "own".into() }, PublishOptions { headers, ..Default::default() }).await?;
    ctx.send(TraceOn {}).await?;
    Ok(())
}

#[derive(Command, Clone, Serialize, Deserialize)]
struct TraceOn {}

#[handler]
async fn trace_on(_: TraceOn, ctx: Context) {
    ctx.emit(Traced { how: "sent on".into() });
}

#[handler(attempts = 2, backoff = "1s")]
async fn note_trace(event: Traced, ctx: Context, State(log): State<Log>) -> Result<(), Failure> {
    let header = |name| ctx.headers().get(name).unwrap_or_default();
    log.add(format!("{} {} {} {}", event.how, ctx.attempt(), header("traceparent"), header("tracestate")));
    if ctx.attempt() == 1 { Err(Failure::new("no", "again")) } else { Ok(()) }
}

#[tokio::test(start_paused = true)]
async fn a_trace_goes_on_through_everything_that_a_message_causes() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = harness.node("node1").discover(false).state(log.clone());
    let node = node.handler(trace).handler(trace_on).handler(note_trace).build().await.unwrap();
    let mut headers = catga::Headers::new();
    headers.insert("traceparent", "00-parent").unwrap();
    headers.insert("tracestate", "vendor=1").unwrap();
    headers.insert("tenant", "acme").unwrap();
    node.send_with(Trace {}, SendOptions { headers, ..Default::default() }).await.unwrap();
    harness.settled().await.unwrap();
    for attempt in [1, 2] {
        for how in ["emitted", "published", "sent on"] {
            assert_eq!(log.count(&format!("{how} {attempt} 00-parent vendor=1")), 1, "{:?}", log.lines());
        }
        assert_eq!(log.count(&format!("own {attempt} 00-own ")), 1, "{:?}", log.lines());
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_emits_without_end_fails_and_keeps_no_more_than_the_limit() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = harness.node("node1").discover(false).state(log.clone()).handler(flood).build().await.unwrap();
    let error = node.send(Flood {}).await.unwrap_err();
    assert_eq!((error.kind(), log.lines()), (ErrorKind::Transport, vec!["15000 were not kept".to_owned()]));
}

#[derive(Command, Clone, Serialize, Deserialize)]
struct Later {
    fail: bool,
}

#[handler]
async fn later(command: Later, ctx: Context) -> Result<(), Failure> {
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        ctx.emit(Noticed { item: "tea".into() });
    });
    if command.fail { Err(Failure::new("no", "not today")) } else { Ok(()) }
}

#[tokio::test(start_paused = true)]
async fn what_is_emitted_after_its_handler_has_ended_never_leaves_and_is_counted() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = harness.node("node1").discover(false).state(log.clone()).handler(later).handler(note_noticed);
    let node = node.build().await.unwrap();
    node.send(Later { fail: false }).await.unwrap();
    node.send(Later { fail: true }).await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(log.is_empty());
    assert_eq!(node.counts().late_emissions, 2);
}
