//! How a node takes on what arrives: in order where that is asked for, and without one handler holding up the others.

use std::time::Duration;

use catga::{Event, Limits, State, handler, testing::Harness};
use catga_tests::Log;
use serde::{Deserialize, Serialize};

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Numbered {
    number: u32,
}

#[handler(concurrency = 1)]
async fn in_turn(event: Numbered, State(log): State<Log>) {
    tokio::time::sleep(Duration::from_millis(1)).await;
    log.add(event.number.to_string());
}

fn up_to(count: u32) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_finds_the_queue_of_its_handler_full_keeps_its_place() {
    let (harness, log) = (Harness::new(), Log::default());
    let publisher = harness.node("publisher").discover(false).build().await.unwrap();
    let limits = Limits { queue: 4, ..Limits::default() };
    let worker = harness.node("worker").discover(false).limits(limits).state(log.clone()).handler(in_turn);
    let _worker = worker.build().await.unwrap();
    let start = tokio::time::Instant::now();
    for number in 0..200 {
        publisher.publish(Numbered { number }).await.unwrap();
    }
    harness.settled().await.unwrap();
    assert_eq!(log.lines(), up_to(200));
    // What is stored again waits there for a second.
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn events_published_together_are_handled_in_their_order() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = harness.node("node1").discover(false).state(log.clone()).handler(in_turn).build().await.unwrap();
    node.publish_all((0..1_000).map(|number| Numbered { number })).await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(log.lines(), up_to(1_000));
}

#[derive(Event, Clone, Serialize, Deserialize)]
struct Heavy {}

#[derive(Event, Clone, Serialize, Deserialize)]
struct Light {}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct HeavyReliable {}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct LightReliable {}

/// Computes, and lets nothing else run on its thread meanwhile.
fn compute(log: &Log) {
    std::thread::sleep(Duration::from_millis(3));
    log.add("heavy");
}

#[handler(concurrency = 1)]
async fn heavy(_: Heavy, State(log): State<Log>) {
    compute(&log);
}

#[handler]
async fn light(_: Light, State(log): State<Log>) {
    log.add("light");
}

#[handler(concurrency = 1)]
async fn heavy_reliable(_: HeavyReliable, State(log): State<Log>) {
    compute(&log);
}

#[handler]
async fn light_reliable(_: LightReliable, State(log): State<Log>) {
    log.add("light");
}

/// How many runs of the heavy handler came before that of the light one.
fn waited(log: &Log) -> Option<usize> {
    log.lines().iter().position(|line| line == "light")
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_computes_does_not_hold_up_the_events_of_others() {
    let (harness, log) = (Harness::new(), Log::default());
    let publisher = harness.node("publisher").discover(false).build().await.unwrap();
    let worker = harness.node("worker").discover(false).state(log.clone()).handler(heavy).handler(light);
    let _worker = worker.build().await.unwrap();
    publisher.publish_all((0..30).map(|_| Heavy {})).await.unwrap();
    publisher.publish(Light {}).await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(log.len(), 31);
    assert!(waited(&log) < Some(10), "{:?}", waited(&log));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_computes_does_not_hold_up_the_reliable_events_of_others() {
    let (harness, log) = (Harness::new(), Log::default());
    let publisher = harness.node("publisher").discover(false).build().await.unwrap();
    let worker = harness.node("worker").discover(false).state(log.clone());
    let _worker = worker.handler(heavy_reliable).handler(light_reliable).build().await.unwrap();
    let heavy = publisher.publish_all((0..30).map(|_| HeavyReliable {}));
    let (heavy, light) = tokio::join!(heavy, publisher.publish(LightReliable {}));
    heavy.unwrap();
    light.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(log.len(), 31);
    assert!(waited(&log) < Some(10), "{:?}", waited(&log));
}
