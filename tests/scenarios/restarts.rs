//! Nodes that stop gently and start again: what they gave back keeps its order and counts for nothing.

use std::time::Duration;

use catga::{Context, Event, Limits, Mediator, State, handler, testing::Harness};
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

/// Is ahead of the other handler: what that one has not begun is no whole delivery then.
#[handler(name = "restarts.at_once")]
async fn at_once(_: Step) {}

#[handler(group = "wide", concurrency = 10, name = "restarts.wide")]
async fn wide(event: Step, State(log): State<Log>) {
    tokio::time::sleep(Duration::from_secs(5)).await;
    log.add(event.number.to_string());
}

fn lines_up_to(count: u32) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// Handles 1,000 events in turn, and is stopped again and again before it is through.
async fn restarted(start: impl AsyncFn(&Harness, &Log, Limits) -> Mediator) {
    let (harness, log) = (Harness::new(), Log::default());
    let publisher = harness.node("publisher").discover(false).build().await.unwrap();
    let mut worker = start(&harness, &log, Limits { shutdown: Duration::from_millis(800), ..Limits::default() }).await;
    publisher.publish_all((0..1_000).map(|number| Step { number })).await.unwrap();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(105)).await;
        assert!(worker.shutdown().await.is_err(), "there is more than it can handle");
        let so_far = log.lines();
        assert_eq!(so_far, lines_up_to(so_far.len() as u32));
        worker = start(&harness, &log, Limits { shutdown: Duration::from_millis(800), ..Limits::default() }).await;
    }
    harness.settled().await.unwrap();
    assert_eq!(log.lines(), lines_up_to(1_000));
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_the_order_of_a_handler_that_runs_once_at_a_time() {
    restarted(async |harness, log, limits| {
        let worker = harness.node("worker").discover(false).limits(limits).state(log.clone());
        worker.handler(in_turn).build().await.unwrap()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_the_order_of_a_handler_also_beside_one_that_is_ahead() {
    restarted(async |harness, log, limits| {
        let worker = harness.node("worker").discover(false).limits(limits).state(log.clone());
        worker.handler(in_turn).handler(at_once).build().await.unwrap()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_node_gives_back_untouched_is_not_suspected_of_killing_it() {
    let (harness, log) = (Harness::new(), Log::default());
    let start = async |id: &str| {
        let limits = Limits { in_flight: 64, ..Limits::default() };
        let node = harness.node(id).discover(false).limits(limits).state(log.clone());
        node.handler(wide).build().await.unwrap()
    };
    let _other = start("other").await;
    let mut worker = start("worker").await;
    worker.publish_all((0..400).map(|number| Step { number })).await.unwrap();
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        worker.shutdown().await.unwrap();
        worker = start("worker").await;
    }
    let begin = tokio::time::Instant::now();
    harness.settled().await.unwrap();
    // Suspects would run alone, each for 5 s.
    assert!(begin.elapsed() < Duration::from_secs(200), "{:?}", begin.elapsed());
    assert_eq!(log.len(), 400);
    assert_eq!(harness.record().duplicates::<Step>().count(), 0);
}

/// Gets through only when it is begun for the sixteenth time.
#[handler(name = "restarts.at_last")]
async fn at_last(_: Step, State(log): State<Log>, ctx: Context) {
    log.add(format!("attempt {}", ctx.attempt()));
    if log.len() < 16 {
        std::future::pending::<()>().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_every_shutdown_cuts_off_is_not_suspected_of_killing_its_node() {
    let (harness, log) = (Harness::new(), Log::default());
    let start = async || {
        let limits = Limits { shutdown: Duration::from_secs(1), ..Limits::default() };
        let worker = harness.node("worker").discover(false).limits(limits).state(log.clone());
        worker.handler(at_last).build().await.unwrap()
    };
    let mut worker = start().await;
    worker.publish(Step { number: 0 }).await.unwrap();
    for _ in 0..15 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(worker.shutdown().await.is_err());
        worker = start().await;
    }
    harness.settled().await.unwrap();
    assert!(worker.dead_letters().list(None, 1).await.unwrap().is_empty());
    assert_eq!(log.count("attempt 1"), 16, "{:?}", log.lines());
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
