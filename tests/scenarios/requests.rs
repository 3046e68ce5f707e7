//! Requests: routing, fail-over, deadlines, refusal, and the same answers from near and far.

use std::time::Duration;

use catga::{
    Command, Context, Error, ErrorKind, Failure, Limits, Outcome, Query, Routing, SendOptions, State, handler,
    testing::{Fault, Harness, Traffic},
};
use catga_tests::Log;
use serde::{Deserialize, Serialize};

#[derive(Query, Clone, Serialize, Deserialize)]
#[response(String)]
struct Where {}

#[handler]
async fn here(_: Where, ctx: Context) -> String {
    ctx.node().to_owned()
}

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(String)]
pub(super) struct Work {
    pub(super) millis: u64,
}

#[handler(concurrency = 2)]
pub(super) async fn work(command: Work, State(log): State<Log>, ctx: Context) -> String {
    log.add(format!("start {}", ctx.node()));
    tokio::time::sleep(Duration::from_millis(command.millis)).await;
    log.add(format!("end {}", ctx.node()));
    ctx.node().to_owned()
}

#[derive(Command, Clone, Serialize, Deserialize)]
struct Refuse {}

#[handler]
async fn refuse(_: Refuse) -> Result<(), Failure> {
    Err(Failure::new("out_of_stock", "no tea left").details(serde_json::json!({ "sku": "tea" })))
}

pub(super) async fn member(harness: &Harness, id: &str, log: &Log) -> catga::Mediator {
    let node = harness.node(id).discover(false).state(log.clone());
    node.handler(here).handler(work).handler(refuse).build().await.unwrap()
}

async fn caller(harness: &Harness) -> catga::Mediator {
    harness.node("caller").discover(false).build().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_request_stays_here_by_default_and_goes_round_where_it_is_told_to() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = member(&harness, "node1", &log).await;
    let _second = member(&harness, "node2", &log).await;
    for _ in 0..4 {
        assert_eq!(first.send(Where {}).await.unwrap(), "node1");
    }
    let third = harness.node("node3").discover(false).handler(here).routing(Routing::RoundRobin).build().await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let mut nodes = Vec::new();
    for _ in 0..6 {
        nodes.push(third.send(Where {}).await.unwrap());
    }
    nodes.sort();
    assert_eq!(nodes, ["node1", "node1", "node2", "node2", "node3", "node3"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_without_the_handler_asks_one_that_has_it() {
    let (harness, log) = (Harness::new(), Log::default());
    let _first = member(&harness, "node1", &log).await;
    assert_eq!(caller(&harness).await.send(Where {}).await.unwrap(), "node1");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_handles_says_so() {
    let harness = Harness::new();
    let error = caller(&harness).await.send(Where {}).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::NoHandler, Outcome::NotStarted));
    assert!(error.to_string().contains("use that_crate as _;"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_handlers_failure_is_the_same_from_near_and_far() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = member(&harness, "node1", &log).await;
    let caller = caller(&harness).await;
    let check = |error: Error| {
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::Handler, Outcome::Failed));
        let failure = error.failure().unwrap();
        assert_eq!((failure.code(), failure.message()), ("out_of_stock", "no tea left"));
        assert_eq!(failure.details_as::<serde_json::Value>().unwrap()["sku"], "tea");
    };
    check(first.send(Refuse {}).await.unwrap_err());
    check(caller.send(Refuse {}).await.unwrap_err());
}

#[tokio::test(start_paused = true)]
async fn a_killed_node_costs_a_caller_milliseconds_and_another_one_answers() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = member(&harness, "node1", &log).await;
    let _second = member(&harness, "node2", &log).await;
    let caller = caller(&harness).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    first.kill();
    let start = tokio::time::Instant::now();
    for _ in 0..4 {
        assert_eq!(caller.send(Where {}).await.unwrap(), "node2");
    }
    assert!(start.elapsed() < Duration::from_millis(50), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_node_killed_while_it_works_is_replaced_by_another() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = member(&harness, "node1", &log).await;
    let caller = caller(&harness).await;
    let sending = tokio::spawn(caller.send(Work { millis: 1_000 }));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let _second = member(&harness, "node2", &log).await;
    first.kill();
    assert_eq!(sending.await.unwrap().unwrap(), "node2");
    assert_eq!(log.lines(), ["start node1", "start node2", "end node2"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_killed_while_it_works_leaves_an_unknown_outcome_where_no_other_can_take_over() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = member(&harness, "node1", &log).await;
    let caller = caller(&harness).await;
    let sending = tokio::spawn(caller.send(Work { millis: 1_000 }));
    tokio::time::sleep(Duration::from_millis(100)).await;
    first.kill();
    let error = sending.await.unwrap().unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_asked_for_again_and_the_command_runs_once() {
    let (harness, log) = (Harness::new(), Log::default());
    let _first = member(&harness, "node1", &log).await;
    let caller = caller(&harness).await;
    harness.inject(Fault::drop(Traffic::Reply).times(1)).await;
    assert_eq!(caller.send(Work { millis: 0 }).await.unwrap(), "node1");
    assert_eq!(log.lines(), ["start node1", "end node1"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_or_doubled_request_runs_once() {
    let (harness, log) = (Harness::new(), Log::default());
    let _first = member(&harness, "node1", &log).await;
    let caller = caller(&harness).await;
    harness.inject(Fault::drop(Traffic::Request).times(1)).await;
    assert_eq!(caller.send(Work { millis: 0 }).await.unwrap(), "node1");
    harness.inject(Fault::duplicate(Traffic::Request).times(1)).await;
    assert_eq!(caller.send(Work { millis: 0 }).await.unwrap(), "node1");
    harness.settled().await.unwrap();
    assert_eq!(log.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_avoided_has_its_turn_again_once_it_answers_even_with_a_failure() {
    let (harness, log) = (Harness::new(), Log::default());
    let _first = member(&harness, "node1", &log).await;
    let _second = member(&harness, "node2", &log).await;
    let caller = caller(&harness).await;
    let turns = async || {
        let mut nodes = vec![caller.send(Where {}).await.unwrap(), caller.send(Where {}).await.unwrap()];
        nodes.sort();
        nodes
    };
    harness.inject(Fault::cut("node1")).await;
    turns().await;
    harness.heal().await;
    assert_eq!(turns().await, ["node2", "node2"]);
    let options = SendOptions { node: Some("node1".into()), ..SendOptions::default() };
    assert_eq!(caller.send_with(Refuse {}, options).await.unwrap_err().kind(), ErrorKind::Handler);
    assert_eq!(turns().await, ["node1", "node2"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_command_is_waited_for_to_its_deadline_and_runs_once() {
    let (harness, log) = (Harness::new(), Log::default());
    let _first = member(&harness, "node1", &log).await;
    let caller = caller(&harness).await;
    assert_eq!(caller.send(Work { millis: 4_000 }).await.unwrap(), "node1");
    let start = tokio::time::Instant::now();
    let error = caller.send(Work { millis: 9_000 }).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::TimedOut, Outcome::Unknown));
    assert_eq!(start.elapsed().as_secs(), 5);
    harness.settled().await.unwrap();
    assert_eq!(log.len(), 4, "what was started runs to its end");
    assert_eq!(caller.counts().late_replies, 6, "asked at once, after 200 ms and then each second");
}

#[tokio::test(start_paused = true)]
async fn a_request_can_be_sent_to_one_node_and_only_there() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = member(&harness, "node1", &log).await;
    let second = member(&harness, "node2", &log).await;
    let to = |node: &str| SendOptions { node: Some(node.into()), ..SendOptions::default() };
    assert_eq!(first.send_with(Where {}, to("node2")).await.unwrap(), "node2");
    assert_eq!(first.send_with(Where {}, to("node1")).await.unwrap(), "node1");
    for name in ["", "a b", "*", "node2.>", "ü"] {
        assert_eq!(first.send_with(Where {}, to(name)).await.unwrap_err().kind(), ErrorKind::Configuration, "{name}");
    }
    second.kill();
    let error = first.send_with(Where {}, to("node2")).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Transport, Outcome::NotStarted));
}

#[tokio::test(start_paused = true)]
async fn a_local_call_that_is_dropped_is_cancelled() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = member(&harness, "node1", &log).await;
    let call = first.send(Work { millis: 1_000 });
    drop(tokio::time::timeout(Duration::from_millis(100), call).await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(log.lines(), ["start node1"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_cut_off_is_replaced_and_its_late_reply_is_counted_nowhere_else() {
    let (harness, log) = (Harness::new(), Log::default());
    let _first = member(&harness, "node1", &log).await;
    let caller = caller(&harness).await;
    let sending = tokio::spawn(caller.send(Work { millis: 300 }));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let _second = member(&harness, "node2", &log).await;
    harness.inject(Fault::cut("node1")).await;
    assert_eq!(sending.await.unwrap().unwrap(), "node2");
}

#[derive(Command, Clone, Serialize, Deserialize)]
struct Block {}

#[handler]
async fn block(_: Block, State(log): State<Log>) {
    // Stands for work that computes: it holds its thread.
    std::thread::sleep(Duration::from_millis(10));
    log.add("run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_is_busy_computing_is_not_taken_for_dead() {
    let (harness, log) = (Harness::new(), Log::default());
    for id in ["node1", "node2"] {
        harness.node(id).discover(false).state(log.clone()).handler(block).build().await.unwrap();
    }
    let caller = caller(&harness).await;
    let sends = (0..120).map(|_| caller.send(Block {}));
    let results = futures_util::future::join_all(sends).await;
    assert!(results.iter().all(Result::is_ok), "{:?}", results.iter().find(|result| result.is_err()));
    assert_eq!(log.len(), 120);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_counts_from_the_send_also_for_what_had_to_wait_for_its_turn() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = member(&harness, "node1", &log).await;
    let start = tokio::time::Instant::now();
    let sends = (0..4).map(|_| node.send(Work { millis: 4_000 }));
    let results = futures_util::future::join_all(sends).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 2);
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[derive(Command, Clone)]
struct Trap {}

impl Serialize for Trap {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Trap {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("by intention")
    }
}

#[handler]
async fn spring(_: Trap) {}

#[tokio::test(start_paused = true)]
async fn a_message_whose_decoding_panics_harms_only_itself() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = harness.node("node1").discover(false).state(log.clone()).handler(spring).handler(here);
    let _node = node.build().await.unwrap();
    // Not through the harness, which decodes what is sent before it is sent.
    let caller = catga::Mediator::builder().node("caller").discover(false).transport(harness.broker().clone());
    let caller = caller.build().await.unwrap();
    let error = caller.send(Trap {}).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Codec, Outcome::NotStarted));
    assert_eq!(caller.send(Where {}).await.unwrap(), "node1");
}

#[derive(Query, Clone, Serialize, Deserialize)]
#[response(String)]
struct Long {
    bytes: usize,
}

#[handler]
async fn long(query: Long) -> String {
    "x".repeat(query.bytes)
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_is_too_large_is_so_near_and_far() {
    let harness = Harness::new();
    let limits = Limits { max_reply: 100, ..Limits::default() };
    let node = harness.node("node1").discover(false).handler(long).limits(limits).build().await.unwrap();
    for sender in [node, caller(&harness).await] {
        assert_eq!(sender.send(Long { bytes: 98 }).await.unwrap().len(), 98);
        let error = sender.send(Long { bytes: 99 }).await.unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::TooLarge, Outcome::Failed));
    }
}
