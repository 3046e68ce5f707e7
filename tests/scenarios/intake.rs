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
