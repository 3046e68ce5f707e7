//! How often a handler runs, how long it waits in between, and what harms only itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use catga::{
    Command, Context, Error, ErrorKind, Event, Failure, Outcome, State, handler,
    testing::{Harness, Occurrence},
};
use serde::{Deserialize, Serialize};

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Flaky {
    fails: u32,
}

#[handler(attempts = 3, backoff = "1s")]
async fn flaky_reliable(event: Flaky, ctx: Context) -> Result<(), Failure> {
    if ctx.attempt() <= event.fails { Err(Failure::new("flaky", "not yet")) } else { Ok(()) }
}

#[derive(Event, Clone, Serialize, Deserialize)]
struct FlakyOnce {
    fails: u32,
}

#[handler(attempts = 3, backoff = "1s")]
async fn flaky_at_most_once(event: FlakyOnce, ctx: Context) -> Result<(), Failure> {
    if ctx.attempt() <= event.fails { Err(Failure::new("flaky", "not yet")) } else { Ok(()) }
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Cursed {
    permanent: bool,
}

#[handler]
async fn cursed(event: Cursed) -> Result<(), Failure> {
    assert!(event.permanent, "cursed");
    Err(Failure::new("cursed", "for good").permanent())
}

#[handler]
async fn unharmed(_: Cursed) {}

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(u32)]
struct Count {
    until: u32,
    transient: bool,
}

#[handler(attempts = 3)]
async fn count_up(command: Count, State(runs): State<Arc<AtomicU32>>) -> Result<u32, Failure> {
    let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
    match (run >= command.until, command.transient) {
        (true, _) => Ok(run),
        (false, true) => Err(Failure::new("busy", "later").transient()),
        (false, false) => Err(Failure::new("wrong", "never")),
    }
}

#[derive(Command, Clone, Serialize, Deserialize)]
struct Hang {}

#[handler(timeout = "2s")]
async fn hang(_: Hang) {
    std::future::pending::<()>().await;
}

#[derive(Command, Clone, Serialize, Deserialize)]
struct Panic {}

#[handler(name = "attempts.panics")]
async fn panics(_: Panic) {
    panic!("by intention");
}

fn gaps(harness: &Harness) -> Vec<Duration> {
    let failed: Vec<_> = harness
        .record()
        .entries()
        .iter()
        .filter(|entry| matches!(entry.occurrence, Occurrence::Failed { .. } | Occurrence::Handled { .. }))
        .map(|entry| entry.at)
        .collect();
    failed.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn a_reliable_event_is_retried_with_growing_delays_and_dies_at_its_last_attempt() {
    for (fails, handled, dead) in [(0, 1, 0), (2, 1, 0), (3, 0, 1)] {
        let harness = Harness::new();
        let node = harness.node("node1").discover(false).handler(flaky_reliable).build().await.unwrap();
        node.publish(Flaky { fails }).await.unwrap();
        harness.settled().await.unwrap();
        assert_eq!(harness.record().handled::<Flaky>().count(), handled);
        assert_eq!(harness.record().failed::<Flaky>().count() as u32, fails.min(3));
        assert_eq!(harness.record().dead_lettered::<Flaky>().count(), dead);
        for (gap, delay) in gaps(&harness).iter().zip([1.0, 4.0]) {
            let seconds = gap.as_secs_f64();
            assert!((delay..=delay * 1.5 + 0.01).contains(&seconds), "{seconds} is not within {delay} and its jitter");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_of_qos_0_is_retried_in_place_and_then_given_up() {
    let harness = Harness::new();
    let node = harness.node("node1").discover(false).handler(flaky_at_most_once).build().await.unwrap();
    node.publish(FlakyOnce { fails: 2 }).await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(harness.record().handled::<FlakyOnce>().count(), 1);
    assert_eq!(node.counts().retries, 2);
    node.publish(FlakyOnce { fails: 3 }).await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(node.counts().failed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_of_its_message_alone_and_only_the_failed_handler_runs_again() {
    let harness = Harness::new();
    let node = harness.node("node1").discover(false).handler(cursed).handler(unharmed).build().await.unwrap();
    node.publish(Cursed { permanent: false }).await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(harness.record().by("catga-tests.unharmed").count(), 1);
    assert_eq!(harness.record().by("catga-tests.cursed").failed::<Cursed>().count(), 4);
    let letters = node.dead_letters().list(None, 10).await.unwrap();
    assert_eq!(letters[0].failure.code(), "panic");
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_not_tried_again() {
    let harness = Harness::new();
    let node = harness.node("node1").discover(false).handler(cursed).build().await.unwrap();
    node.publish(Cursed { permanent: true }).await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(harness.record().failed::<Cursed>().count(), 1);
    assert_eq!(harness.record().dead_lettered::<Cursed>().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_tried_again_only_where_that_is_asked_for_and_only_after_transient_failures() {
    let harness = Harness::new();
    let runs = Arc::new(AtomicU32::new(0));
    let node = harness.node("node1").discover(false).state(runs.clone()).handler(count_up).build().await.unwrap();
    assert_eq!(node.send(Count { until: 3, transient: true }).await.unwrap(), 3);
    runs.store(0, Ordering::SeqCst);
    let error: Error = node.send(Count { until: 3, transient: false }).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Handler, Outcome::Failed));
    assert_eq!(error.failure().unwrap().code(), "wrong");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_handler_ends_at_its_time_out_with_an_unknown_outcome() {
    let harness = Harness::new();
    let node = harness.node("node1").discover(false).handler(hang).build().await.unwrap();
    let start = tokio::time::Instant::now();
    let error = node.send(Hang {}).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::TimedOut, Outcome::Unknown));
    assert_eq!(start.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_panicking_request_is_answered_and_the_node_goes_on() {
    let harness = Harness::new();
    let node = harness.node("node1").discover(false).handler(panics).handler(hang).build().await.unwrap();
    for _ in 0..3 {
        let error = node.send(Panic {}).await.unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::Handler, Outcome::Failed));
        assert_eq!(error.failure().unwrap().code(), "panic");
        assert!(error.to_string().contains("attempts.panics"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_key_of_a_handler_applies_to_what_comes_from_another_node() {
    let harness = Harness::new();
    let runs = Arc::new(AtomicU32::new(0));
    let _node = harness
        .node("node1")
        .discover(false)
        .state(runs.clone())
        .handler(count_up)
        .handler(hang)
        .build()
        .await
        .unwrap();
    let caller = harness.node("caller").discover(false).build().await.unwrap();
    assert_eq!(caller.send(Count { until: 3, transient: true }).await.unwrap(), 3);
    let start = tokio::time::Instant::now();
    let error = caller.send(Hang {}).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::TimedOut, Outcome::Unknown));
    assert_eq!(start.elapsed().as_secs(), 2, "the time-out of the handler, not the deadline of the caller");
}

#[tokio::test(start_paused = true)]
async fn without_the_default_layers_nothing_cuts_a_handler_off() {
    let harness = Harness::new();
    let node = harness.node("node1").discover(false).default_layers(false).handler(patient).build().await.unwrap();
    let start = tokio::time::Instant::now();
    node.send(Wait { seconds: 3_600 }).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 3_600);
}

#[derive(Command, Clone, Serialize, Deserialize)]
struct Wait {
    seconds: u64,
}

#[handler]
async fn patient(command: Wait) {
    tokio::time::sleep(Duration::from_secs(command.seconds)).await;
}
