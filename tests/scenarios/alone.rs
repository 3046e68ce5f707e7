//! A reliable event that is published while nothing else is under way: its caller stores it.

use std::time::Duration;

use catga::{
    Event, State, handler,
    testing::{Fault, Harness, Traffic},
};
use catga_tests::Log;
use serde::{Deserialize, Serialize};

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Signed {
    number: u32,
}

#[handler(concurrency = 1, name = "alone.sign")]
async fn sign(event: Signed, State(log): State<Log>) {
    log.add(event.number.to_string());
}

async fn node(harness: &Harness, log: &Log) -> catga::Mediator {
    harness.node("node1").discover(false).state(log.clone()).handler(sign).build().await.unwrap()
}

/// As a `select!` does that takes another branch.
#[tokio::test(start_paused = true)]
async fn it_is_stored_also_if_its_caller_has_gone() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = node(&harness, &log).await;
    harness.inject(Fault::drop(Traffic::Store).times(1)).await;
    let publishing = tokio::time::timeout(Duration::from_millis(1), node.publish(Signed { number: 1 }));
    assert!(publishing.await.is_err(), "the store did not get it yet");
    node.publish(Signed { number: 2 }).await.unwrap();
    // The next attempt to store it.
    tokio::time::sleep(Duration::from_secs(5)).await;
    harness.settled().await.unwrap();
    let mut lines = log.lines();
    lines.sort();
    assert_eq!(lines, ["1", "2"]);
}

#[test]
fn it_is_stored_also_if_it_is_dropped_outside_of_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (harness, log) = (Harness::new(), Log::default());
    let node = runtime.block_on(node(&harness, &log));
    let mut publishing = node.publish(Signed { number: 1 });
    runtime.block_on(async {
        harness.inject(Fault::drop(Traffic::Store).times(1)).await;
        tokio::time::timeout(Duration::from_millis(1), &mut publishing).await.expect_err("the store did not get it");
    });
    drop(publishing);
    runtime.block_on(async { tokio::time::sleep(Duration::from_secs(5)).await });
    assert_eq!(log.lines(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn it_is_confirmed_before_its_node_leaves() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = node(&harness, &log).await;
    harness.inject(Fault::drop(Traffic::StoreConfirmation).times(1)).await;
    let publishing = tokio::spawn(node.publish(Signed { number: 1 }));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(!publishing.is_finished(), "its confirmation was lost");
    node.shutdown().await.unwrap();
    publishing.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_one_task_begins_in_turn_is_stored_in_turn() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = node(&harness, &log).await;
    let publish = |number| node.publish(Signed { number });
    for number in (0..3_000).step_by(3) {
        tokio::try_join!(publish(number), publish(number + 1), publish(number + 2)).unwrap();
    }
    harness.settled().await.unwrap();
    assert_eq!(log.lines(), (0..3_000).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn publish_all_keeps_the_order_after_it_and_before_it() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = node(&harness, &log).await;
    let first = node.publish(Signed { number: 0 });
    let rest = node.publish_all((1..100).map(|number| Signed { number }));
    let (first, rest, last) = tokio::join!(first, rest, node.publish(Signed { number: 100 }));
    assert!(first.is_ok() && last.is_ok());
    assert_eq!(rest.unwrap(), 99);
    harness.settled().await.unwrap();
    assert_eq!(log.lines(), (0..101).map(|number| number.to_string()).collect::<Vec<_>>());
}
