//! Near and far: a request that stays on its node has the same deadline, retries and end as one that crosses.

use std::time::Duration;

use catga::{Command, Context, ErrorKind, Failure, Mediator, Outcome, SendOptions, State, handler, testing::Harness};
use catga_tests::Log;
use serde::{Deserialize, Serialize};

#[derive(Command, Clone, Serialize, Deserialize)]
struct Long {
    seconds: u64,
}

#[handler(timeout = "300s", concurrency = 1, name = "near_and_far.long")]
async fn take_long(command: Long, State(log): State<Log>) {
    tokio::time::sleep(Duration::from_secs(command.seconds)).await;
    log.add("end");
}

#[derive(Command, Clone, Serialize, Deserialize)]
struct Busy {}

#[handler(attempts = 5, backoff = "1s", name = "near_and_far.busy")]
async fn always_busy(_: Busy) -> Result<(), Failure> {
    Err(Failure::new("busy", "later").transient())
}

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(u64)]
struct TimeLeft {}

#[handler(attempts = 2, backoff = "1s", name = "near_and_far.time_left")]
async fn time_left(_: TimeLeft, ctx: Context) -> Result<u64, Failure> {
    if ctx.attempt() == 1 {
        return Err(Failure::new("busy", "later").transient());
    }
    Ok((ctx.deadline().unwrap() - tokio::time::Instant::now()).as_millis() as u64)
}

/// A node, and one that has no handlers.
async fn near_and_far(harness: &Harness, log: &Log) -> [Mediator; 2] {
    let near = harness.node("near").discover(false).state(log.clone());
    let near = near.handler(take_long).handler(always_busy).handler(time_left).build().await.unwrap();
    [near, harness.node("far").discover(false).build().await.unwrap()]
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_stays_busy_is_no_silence() {
    let harness = Harness::new();
    for sender in near_and_far(&harness, &Log::default()).await {
        let error = sender.send(Busy {}).await.unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::Handler, Outcome::Failed));
        assert_eq!(error.failure().unwrap().code(), "busy");
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_run_sees_how_long_its_caller_still_waits() {
    let harness = Harness::new();
    for sender in near_and_far(&harness, &Log::default()).await {
        // A delay of 1 s and up to half as long again.
        let left = sender.send(TimeLeft {}).await.unwrap();
        assert!((3_400..=4_000).contains(&left), "{left}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_runs_at_the_end_of_the_time_to_shut_down_is_cancelled_near_and_far() {
    for default_layers in [true, false] {
        for sender in 0..2 {
            let (harness, log) = (Harness::new(), Log::default());
            let near = harness.node("near").discover(false).state(log.clone()).handler(take_long);
            let near = near.default_layers(default_layers).build().await.unwrap();
            let far = harness.node("far").discover(false).build().await.unwrap();
            let options = SendOptions { timeout: Some(Duration::from_secs(200)), ..SendOptions::default() };
            let sending = tokio::spawn([&near, &far][sender].send_with(Long { seconds: 100 }, options));
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(near.shutdown().await.unwrap_err().kind(), ErrorKind::TimedOut);
            let error = sending.await.unwrap().unwrap_err();
            assert_eq!((error.kind(), error.outcome()), (ErrorKind::ShuttingDown, Outcome::Unknown));
            assert!(log.is_empty());
        }
    }
}

#[derive(Command, Clone, Serialize, Deserialize)]
struct Outer {}

#[handler(name = "near_and_far.outer")]
async fn send_late(_: Outer, ctx: Context, State(log): State<Log>) {
    tokio::time::sleep(Duration::from_millis(9_500)).await;
    // Three quarters of the time to shut down are over: the gate of the other handler has closed, behind a run that goes on.
    log.add(format!("{:?}", ctx.send(Long { seconds: 1 }).await.map_err(|error| error.kind())));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_is_not_called_overloaded() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = harness.node("near").discover(false).state(log.clone()).handler(take_long).handler(send_late);
    let node = node.build().await.unwrap();
    let patient = || SendOptions { timeout: Some(Duration::from_secs(60)), ..SendOptions::default() };
    let outer = tokio::spawn(node.send_with(Outer {}, patient()));
    let sends = (outer, tokio::spawn(node.send_with(Long { seconds: 10 }, patient())));
    tokio::time::sleep(Duration::from_secs(1)).await;
    node.shutdown().await.unwrap();
    sends.0.await.unwrap().unwrap();
    sends.1.await.unwrap().unwrap();
    assert_eq!(log.lines(), ["Err(ShuttingDown)", "end"]);
}
