//! Nodes that stop and start again: what is stored waits for whom it is stored for.

use std::time::Duration;

use catga::{Event, State, handler, testing::Harness};
use catga_tests::Log;
use serde::{Deserialize, Serialize};

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Step {
    number: u32,
}

#[handler(concurrency = 1, name = "restarts.in_turn")]
async fn in_turn(event: Step, State(log): State<Log>) {
    tokio::time::sleep(Duration::from_millis(10)).await;
    log.add(event.number.to_string());
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Aside {}

#[handler(name = "restarts.aside")]
async fn aside(_: Aside) {}

#[tokio::test(start_paused = true)]
async fn a_node_that_drops_a_handler_takes_nothing_from_others_that_it_never_was_owed() {
    let (harness, log) = (Harness::new(), Log::default());
    let second = || harness.node("node2").discover(false).state(log.clone()).handler(in_turn).build();
    let first = || harness.node("node1").discover(false).handler(aside);
    let publisher = harness.node("publisher").discover(false).build().await.unwrap();
    second().await.unwrap().shutdown().await.unwrap();
    first().build().await.unwrap().shutdown().await.unwrap();
    publisher.publish(Step { number: 0 }).await.unwrap();
    // It begins to want such events, dies before it has looked at the store, and comes back without.
    first().state(log.clone()).handler(in_turn).build().await.unwrap().kill();
    let _first = first().build().await.unwrap();
    let _second = second().await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(log.lines(), ["0"], "what waited for the second node is still there");
}
