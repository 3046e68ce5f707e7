//! Keys: a repeat is answered, not executed again, whichever node it reaches.

use std::time::Duration;

use catga::{
    Command, Context, ErrorKind, Failure, Limits, Mediator, Outcome, SendOptions, State, handler, testing::Harness,
};
use catga_tests::Log;
use serde::{Deserialize, Serialize};

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(String)]
struct Buy {
    item: String,
    millis: u64,
}

#[handler]
async fn buy(command: Buy, State(log): State<Log>, ctx: Context) -> Result<String, Failure> {
    log.add(ctx.node());
    tokio::time::sleep(Duration::from_millis(command.millis)).await;
    match command.item.as_str() {
        "busy" => Err(Failure::new("busy", "later").transient()),
        "none" => Err(Failure::new("none", "never")),
        item => Ok(format!("{item} {}", log.len())),
    }
}

fn command(item: &str) -> Buy {
    Buy { item: item.into(), millis: 0 }
}

fn key(key: &str) -> SendOptions {
    SendOptions { key: Some(key.into()), ..SendOptions::default() }
}

async fn nodes(harness: &Harness, log: &Log) -> Vec<Mediator> {
    let mut nodes = Vec::new();
    for id in ["node1", "node2", "node3"] {
        nodes.push(harness.node(id).discover(false).state(log.clone()).handler(buy).build().await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    nodes
}

#[tokio::test(start_paused = true)]
async fn a_repeat_under_the_same_key_has_the_same_reply_on_every_node() {
    let (harness, log) = (Harness::new(), Log::default());
    let nodes = nodes(&harness, &log).await;
    let first = nodes[0].send_with(command("tea"), key("a")).await.unwrap();
    for node in &nodes {
        assert_eq!(node.send_with(command("tea"), key("a")).await.unwrap(), first);
    }
    assert_eq!(log.len(), 1);
    for name in ["b", "c", "d", "e", "f", "g", "h"] {
        nodes[0].send_with(command("tea"), key(name)).await.unwrap();
    }
    let mut used = log.lines();
    used.sort();
    used.dedup();
    assert!(used.len() > 1, "keys spread over nodes");
}

#[tokio::test(start_paused = true)]
async fn the_same_key_with_other_content_is_refused() {
    let (harness, log) = (Harness::new(), Log::default());
    let nodes = nodes(&harness, &log).await;
    nodes[0].send_with(command("tea"), key("a")).await.unwrap();
    let error = nodes[1].send_with(command("coffee"), key("a")).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::KeyReused, Outcome::NotStarted));
    assert_eq!(log.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn repeats_at_the_same_time_wait_for_the_first() {
    let (harness, log) = (Harness::new(), Log::default());
    let nodes = nodes(&harness, &log).await;
    let slow = Buy { item: "tea".into(), millis: 1_000 };
    let sends = nodes.iter().flat_map(|node| (0..10).map(|_| node.send_with(slow.clone(), key("a"))));
    let replies = futures_util::future::join_all(sends).await;
    assert_eq!(replies.len(), 30);
    assert!(replies.iter().all(|reply| reply.as_deref().ok() == Some("tea 1")), "{replies:?}");
    assert_eq!(log.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_an_answer_that_is_remembered_and_a_transient_one_is_not() {
    let (harness, log) = (Harness::new(), Log::default());
    let nodes = nodes(&harness, &log).await;
    for _ in 0..2 {
        let error = nodes[0].send_with(command("none"), key("a")).await.unwrap_err();
        assert_eq!(error.failure().unwrap().code(), "none");
    }
    assert_eq!(log.len(), 1);
    for _ in 0..2 {
        nodes[0].send_with(command("busy"), key("b")).await.unwrap_err();
    }
    assert_eq!(log.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_is_forgotten_when_its_window_has_passed() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = harness.node("node1").discover(false).state(log.clone()).handler(buy).build().await.unwrap();
    assert_eq!(node.send_with(command("tea"), key("a")).await.unwrap(), "tea 1");
    tokio::time::sleep(Duration::from_secs(599)).await;
    assert_eq!(node.send_with(command("tea"), key("a")).await.unwrap(), "tea 1");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(node.send_with(command("tea"), key("a")).await.unwrap(), "tea 2");
}

#[tokio::test(start_paused = true)]
async fn a_request_with_a_key_runs_to_its_end_when_its_caller_leaves() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = harness.node("node1").discover(false).state(log.clone()).handler(buy).build().await.unwrap();
    let slow = Buy { item: "tea".into(), millis: 1_000 };
    let call = node.send_with(slow.clone(), key("a"));
    drop(tokio::time::timeout(Duration::from_millis(100), call).await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(node.send_with(slow, key("a")).await.unwrap(), "tea 1");
}

#[tokio::test(start_paused = true)]
async fn more_claims_than_allowed_are_refused() {
    let (harness, log) = (Harness::new(), Log::default());
    let limits = Limits { idempotency_claims: 2, ..Limits::default() };
    let node = harness.node("node1").discover(false).state(log.clone()).handler(buy).limits(limits);
    let node = node.build().await.unwrap();
    let slow = Buy { item: "tea".into(), millis: 1_000 };
    let sends = ["a", "b", "c"].map(|name| node.send_with(slow.clone(), key(name)));
    let results = futures_util::future::join_all(sends).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 2);
    assert_eq!(results[2].as_ref().unwrap_err().kind(), ErrorKind::Overloaded);
}

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(u32)]
struct Basket {
    items: std::collections::HashMap<String, u32>,
}

#[handler]
async fn weigh(command: Basket, State(log): State<Log>) -> u32 {
    log.add("weighed");
    command.items.values().sum()
}

#[tokio::test(start_paused = true)]
async fn the_order_of_a_map_is_no_other_content() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = harness.node("node1").discover(false).state(log.clone()).handler(weigh).build().await.unwrap();
    for _ in 0..10 {
        // Each map has an order of its own.
        let items = (1..=9).map(|number| (number.to_string(), number)).collect();
        assert_eq!(node.send_with(Basket { items }, key("a")).await.unwrap(), 45);
    }
    assert_eq!(log.len(), 1);
}
