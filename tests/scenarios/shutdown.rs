//! Stopping: what runs finishes, what has not started goes back, what is stored is not lost.

use std::time::Duration;

use catga::{Command, Context, ErrorKind, Event, Limits, Outcome, Signals, State, handler, testing::Harness};
use catga_tests::Log;
use serde::{Deserialize, Serialize};

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Job {
    number: u32,
}

#[handler(group = "workers", concurrency = 1, name = "shutdown.job")]
async fn do_job(event: Job, State(log): State<Log>, ctx: Context) {
    tokio::time::sleep(Duration::from_millis(100)).await;
    log.add(format!("{} {}", ctx.node(), event.number));
}

#[derive(Command, Clone, Serialize, Deserialize)]
struct Task {
    seconds: u64,
}

#[handler(name = "shutdown.task")]
async fn do_task(command: Task, State(log): State<Log>) {
    tokio::time::sleep(Duration::from_secs(command.seconds)).await;
    log.add("task");
}

fn node(harness: &Harness, id: &str, log: &Log) -> catga::Builder {
    harness.node(id).discover(false).state(log.clone()).handler(do_job).handler(do_task)
}

#[tokio::test(start_paused = true)]
async fn what_was_not_started_goes_to_another_node_and_nothing_is_done_twice() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).build().await.unwrap();
    let _second = node(&harness, "node2", &log).build().await.unwrap();
    first.publish_all((0..60).map(|number| Job { number })).await.unwrap();
    tokio::time::sleep(Duration::from_millis(550)).await;
    first.shutdown().await.unwrap();
    harness.settled().await.unwrap();
    for number in 0..60 {
        let done = log.lines().iter().filter(|line| line.ends_with(&format!(" {number}"))).count();
        assert_eq!(done, 1, "job {number}: {:?}", log.lines());
    }
    assert_eq!(harness.record().duplicates::<Job>().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn running_handlers_finish_within_the_limit_and_their_callers_are_answered() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).build().await.unwrap();
    let caller = harness.node("caller").discover(false).build().await.unwrap();
    let remote = tokio::spawn(caller.send(Task { seconds: 3 }));
    let local = tokio::spawn(first.send(Task { seconds: 3 }));
    tokio::time::sleep(Duration::from_secs(1)).await;
    first.shutdown().await.unwrap();
    remote.await.unwrap().unwrap();
    local.await.unwrap().unwrap();
    assert_eq!(log.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn handlers_that_take_too_long_are_cancelled_and_their_callers_do_not_know_the_outcome() {
    let (harness, log) = (Harness::new(), Log::default());
    let limits = Limits { shutdown: Duration::from_secs(2), ..Limits::default() };
    let first = node(&harness, "node1", &log).limits(limits).build().await.unwrap();
    let caller = harness.node("caller").discover(false).build().await.unwrap();
    let remote = tokio::spawn(caller.send(Task { seconds: 100 }));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = tokio::time::Instant::now();
    let error = first.shutdown().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() < Duration::from_millis(2_100), "{:?}", start.elapsed());
    assert_eq!(remote.await.unwrap().unwrap_err().outcome(), Outcome::Unknown);
    assert!(log.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_last_node_handles_what_is_stored_before_it_goes() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).build().await.unwrap();
    first.publish_all((0..30).map(|number| Job { number })).await.unwrap();
    first.shutdown().await.unwrap();
    assert_eq!(log.len(), 30);
}

#[tokio::test(start_paused = true)]
async fn what_the_last_node_could_not_handle_is_reported() {
    let (harness, log) = (Harness::new(), Log::default());
    let limits = Limits { shutdown: Duration::from_secs(1), ..Limits::default() };
    let first = node(&harness, "node1", &log).limits(limits).build().await.unwrap();
    first.publish_all((0..30).map(|number| Job { number })).await.unwrap();
    let error = first.shutdown().await.unwrap_err();
    assert!(error.to_string().contains("were not handled") || error.to_string().contains("cancelled"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn of_nodes_that_stop_together_one_handles_what_is_stored() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).build().await.unwrap();
    let second = node(&harness, "node2", &log).build().await.unwrap();
    let third = node(&harness, "node3", &log).build().await.unwrap();
    first.publish_all((0..60).map(|number| Job { number })).await.unwrap();
    let (one, two, three) = tokio::join!(first.shutdown(), second.shutdown(), third.shutdown());
    one.and(two).and(three).unwrap();
    assert_eq!(log.len(), 60);
}

#[tokio::test(start_paused = true)]
async fn the_last_member_of_a_group_handles_what_is_stored_for_it_whoever_else_is_there() {
    let (harness, log) = (Harness::new(), Log::default());
    let publisher = harness.node("publisher").discover(false).build().await.unwrap();
    let workers = [node(&harness, "node1", &log), node(&harness, "node2", &log)].map(catga::Builder::build);
    let [first, second] = futures_util::future::join_all(workers).await.try_into().unwrap();
    publisher.publish_all((0..60).map(|number| Job { number })).await.unwrap();
    let start = tokio::time::Instant::now();
    first.unwrap().shutdown().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "the second one goes on: {:?}", start.elapsed());
    second.unwrap().shutdown().await.unwrap();
    publisher.shutdown().await.unwrap();
    assert_eq!(log.len(), 60);
}

#[handler(concurrency = 1, name = "shutdown.everywhere")]
async fn everywhere(event: Job, State(log): State<Log>, ctx: Context) {
    tokio::time::sleep(Duration::from_millis(100)).await;
    log.add(format!("{} {}", ctx.node(), event.number));
}

#[tokio::test(start_paused = true)]
async fn each_node_handles_what_is_stored_for_it_alone_before_it_goes() {
    let (harness, log) = (Harness::new(), Log::default());
    let build = |id: &str| harness.node(id).discover(false).state(log.clone()).handler(everywhere).build();
    let (first, second) = (build("node1").await.unwrap(), build("node2").await.unwrap());
    first.publish_all((0..30).map(|number| Job { number })).await.unwrap();
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
    assert_eq!(log.lines().iter().filter(|line| line.starts_with("node1")).count(), 30);
    assert_eq!(log.len(), 60);
}

#[tokio::test(start_paused = true)]
async fn what_a_node_could_not_handle_is_reported_and_its_running_handlers_finish() {
    let (harness, log) = (Harness::new(), Log::default());
    let limits = Limits { shutdown: Duration::from_secs(2), ..Limits::default() };
    let first = harness.node("node1").discover(false).limits(limits).state(log.clone()).handler(everywhere);
    let first = first.build().await.unwrap();
    let _publisher = harness.node("publisher").discover(false).build().await.unwrap();
    first.publish_all((0..60).map(|number| Job { number })).await.unwrap();
    let start = tokio::time::Instant::now();
    let error = first.shutdown().await.unwrap_err();
    assert!(start.elapsed() < Duration::from_millis(2_100), "{:?}", start.elapsed());
    let left = 60 - log.len();
    assert!(left > 20 && error.to_string().contains(&format!("{left} stored events")), "{left} left: {error}");
}

#[tokio::test(start_paused = true)]
async fn the_last_node_reports_what_is_stored_for_nodes_that_are_gone() {
    let (harness, log) = (Harness::new(), Log::default());
    let publisher = harness.node("publisher").discover(false).build().await.unwrap();
    let first = harness.node("node1").discover(false).state(log.clone()).handler(everywhere).build().await.unwrap();
    first.kill();
    publisher.publish_all((0..3).map(|number| Job { number })).await.unwrap();
    let error = publisher.shutdown().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("stored events"), "{error}");
}

#[derive(Command, Clone, Serialize, Deserialize)]
struct Begin {}

#[handler(name = "shutdown.begin")]
async fn begin(_: Begin, ctx: Context) {
    tokio::time::sleep(Duration::from_secs(1)).await;
    ctx.emit(Job { number: 7 });
}

#[tokio::test(start_paused = true)]
async fn the_last_node_handles_what_its_running_handlers_emit() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).handler(begin).build().await.unwrap();
    let running = tokio::spawn(first.send(Begin {}));
    tokio::time::sleep(Duration::from_millis(100)).await;
    first.shutdown().await.unwrap();
    running.await.unwrap().unwrap();
    assert_eq!(log.lines(), ["node1 7"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_after_a_shutdown() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).build().await.unwrap();
    first.shutdown().await.unwrap();
    first.shutdown().await.unwrap();
    let errors =
        [first.send(Task { seconds: 0 }).await.unwrap_err(), first.publish(Job { number: 1 }).await.unwrap_err()];
    for error in errors {
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::ShuttingDown, Outcome::NotStarted));
    }
}

#[tokio::test(start_paused = true)]
async fn running_handlers_finish_also_without_the_default_layers() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).default_layers(false).build().await.unwrap();
    let caller = harness.node("caller").discover(false).build().await.unwrap();
    let remote = tokio::spawn(caller.send(Task { seconds: 3 }));
    tokio::time::sleep(Duration::from_secs(1)).await;
    first.shutdown().await.unwrap();
    remote.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_goes_on_when_its_caller_leaves_and_a_killed_node_has_none() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).build().await.unwrap();
    let mut changes = first.cluster().changes();
    let running = tokio::spawn(first.send(Task { seconds: 3 }));
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(tokio::time::timeout(Duration::from_millis(100), first.shutdown()).await);
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, first.shutdown()).await.expect("it ends").unwrap();
    running.await.unwrap().unwrap();
    assert_eq!(tokio::time::timeout(limit, changes.next()).await.expect("it ends"), None);
    let second = node(&harness, "node2", &log).build().await.unwrap();
    second.kill();
    tokio::time::timeout(limit, second.shutdown()).await.expect("it ends").unwrap();
}

/// No other test here may wait for signals: they go to the process.
#[cfg(unix)]
#[tokio::test]
async fn a_signal_that_comes_before_anybody_waits_for_it_is_not_missed() {
    let mut signals = Signals::listen().unwrap();
    let process = std::process::id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &process]).status().unwrap().success());
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).build().await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), first.run_until(signals.asked())).await.expect("it ends").unwrap();
    assert_eq!(first.send(Task { seconds: 0 }).await.unwrap_err().kind(), ErrorKind::ShuttingDown);
}
