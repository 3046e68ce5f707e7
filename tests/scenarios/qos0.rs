//! Events of QoS 0: every live node, at most once, what is dropped is counted.

use std::time::Duration;

use catga::{
    Context, Event, Limits, Mediator, State, handler,
    testing::{Fault, Harness, Traffic},
};
use catga_tests::Log;
use serde::{Deserialize, Serialize};

#[derive(Event, Clone, Serialize, Deserialize)]
struct Ticked {
    at: u32,
}

#[handler]
async fn note_tick(event: Ticked, State(log): State<Log>, ctx: Context) {
    log.add(format!("{} {}", ctx.node(), event.at));
}

#[handler]
async fn note_tick_too(event: Ticked, State(log): State<Log>, ctx: Context) {
    tokio::task::yield_now().await;
    log.add(format!("{} too {}", ctx.node(), event.at));
}

#[derive(Event, Clone, Serialize, Deserialize)]
struct Ping {
    left: u32,
}

#[derive(Event, Clone, Serialize, Deserialize)]
struct Pong {
    left: u32,
}

#[handler]
async fn ping(event: Ping, mediator: Mediator, State(log): State<Log>) {
    log.add("ping");
    if event.left > 0 {
        mediator.publish(Pong { left: event.left - 1 }).await.unwrap();
    }
}

#[handler]
async fn pong(event: Pong, mediator: Mediator, State(log): State<Log>) {
    log.add("pong");
    if event.left > 0 {
        mediator.publish(Ping { left: event.left - 1 }).await.unwrap();
    }
}

#[derive(Event, Clone, Serialize, Deserialize)]
struct Stuck {}

#[handler(concurrency = 1)]
async fn never_returns(_: Stuck, State(log): State<Log>) {
    log.add("stuck");
    std::future::pending::<()>().await;
}

#[derive(Event, Clone, Serialize, Deserialize)]
struct Ordered {
    number: u64,
}

#[handler(concurrency = 1)]
async fn in_order(event: Ordered, State(log): State<Log>) {
    // The earlier the number, the longer it takes.
    tokio::time::sleep(Duration::from_millis(20 - event.number)).await;
    log.add(event.number.to_string());
}

fn node(harness: &Harness, id: &str, log: &Log) -> catga::Builder {
    harness.node(id).discover(false).state(log.clone()).handler(note_tick).handler(note_tick_too)
}

#[tokio::test(start_paused = true)]
async fn every_handler_of_every_live_node_has_an_event_once() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).build().await.unwrap();
    let _second = node(&harness, "node2", &log).build().await.unwrap();
    let third = node(&harness, "node3", &log).build().await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    third.kill();
    first.publish(Ticked { at: 1 }).await.unwrap();
    harness.settled().await.unwrap();
    let mut lines = log.lines();
    lines.sort();
    assert_eq!(lines, ["node1 1", "node1 too 1", "node2 1", "node2 too 1"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_lost_on_the_way_shows_as_a_gap() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).build().await.unwrap();
    let second = node(&harness, "node2", &log).build().await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    first.publish(Ticked { at: 1 }).await.unwrap();
    harness.settled().await.unwrap();
    harness.inject(Fault::drop(Traffic::Event).times(2)).await;
    for at in 2..=4 {
        first.publish(Ticked { at }).await.unwrap();
    }
    harness.settled().await.unwrap();
    assert_eq!(second.counts().gaps, 2);
    assert_eq!(log.count("node2 4"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_sender_loses_right_after_its_restart_shows_as_a_gap_too() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).build().await.unwrap();
    let second = node(&harness, "node2", &log).build().await.unwrap();
    for at in 1..=5 {
        first.publish(Ticked { at }).await.unwrap();
    }
    harness.settled().await.unwrap();
    first.kill();
    let first = node(&harness, "node1", &log).build().await.unwrap();
    harness.inject(Fault::drop(Traffic::Event).times(2)).await;
    for at in 6..=8 {
        first.publish(Ticked { at }).await.unwrap();
    }
    harness.settled().await.unwrap();
    assert_eq!((log.count("node2 7"), log.count("node2 8")), (0, 1));
    assert_eq!(second.counts().gaps, 2);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_burst_that_finds_no_room_is_counted() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &Log::default()).build().await.unwrap();
    let limits = Limits { queue: 5, ..Limits::default() };
    let second = harness.node("node2").discover(false).state(log.clone()).handler(note_tick).limits(limits);
    let second = second.build().await.unwrap();
    let events = (1..=100).map(|at| first.publish(Ticked { at }));
    futures_util::future::join_all(events).await;
    harness.settled().await.unwrap();
    assert!(log.len() < 100);
    assert_eq!(log.len() as u64 + second.counts().dropped, 100);
}

#[derive(Event, Clone, Serialize, Deserialize)]
struct Heavy {}

#[handler]
async fn compute(_: Heavy, State(log): State<Log>) {
    log.add("run");
    // Stands for work that computes: it holds its thread.
    std::thread::sleep(Duration::from_millis(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_waits_in_the_queue_of_a_node_that_stops_is_counted() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = harness.node("node1").discover(false).build().await.unwrap();
    let second = harness.node("node2").discover(false).state(log.clone()).handler(compute).build().await.unwrap();
    first.publish(Heavy {}).await.unwrap();
    while log.is_empty() {
        tokio::task::yield_now().await;
    }
    for _ in 0..10 {
        first.publish(Heavy {}).await.unwrap();
    }
    // What it had to send is on its way when it has gone.
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
    assert_eq!(log.len() as u64 + second.counts().dropped, 11);
    assert_eq!(log.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_events_that_publish_each_other_do_not_recurse() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = harness.node("node1").discover(false).state(log.clone()).handler(ping).handler(pong);
    let node = node.build().await.unwrap();
    node.publish(Ping { left: 10_000 }).await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(log.len(), 10_001);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_returns_bounds_what_waits_for_it_and_the_rest_is_counted() {
    let (harness, log) = (Harness::new(), Log::default());
    let limits = Limits { queue: 5, handler_timeout: Duration::from_secs(3_600), ..Limits::default() };
    let node = harness.node("node1").discover(false).state(log.clone()).handler(never_returns).limits(limits);
    let node = node.build().await.unwrap();
    for _ in 0..100 {
        node.publish(Stuck {}).await.unwrap();
    }
    assert_eq!(log.len(), 1);
    assert_eq!(node.counts().dropped, 94, "one runs and five wait");
}

#[tokio::test(start_paused = true)]
async fn concurrency_1_keeps_the_order_of_a_publisher_near_and_far() {
    let (harness, near, far) = (Harness::new(), Log::default(), Log::default());
    let first = harness.node("node1").discover(false).state(near.clone()).handler(in_order).build().await.unwrap();
    let _second = harness.node("node2").discover(false).state(far.clone()).handler(in_order).build().await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    for number in 0..20 {
        first.publish(Ordered { number }).await.unwrap();
    }
    harness.settled().await.unwrap();
    let expected: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(near.lines(), expected);
    assert_eq!(far.lines(), expected);
}
