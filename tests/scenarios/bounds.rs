//! The bounds of a broker inside a process: each can be set, and each holds.

use std::time::Duration;

use catga::{
    ErrorKind, Event, Failure, MessageId, Outcome, PublishOptions, State, handler,
    testing::{Fault, Harness, Traffic},
    transport::{InProcess, InProcessBuilder},
};
use catga_tests::Log;
use serde::{Deserialize, Serialize};

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Sheet {
    text: String,
}

#[handler(name = "bounds.read")]
async fn read(sheet: Sheet, State(log): State<Log>) {
    log.add(sheet.text);
}

#[handler(attempts = 1, name = "bounds.burn")]
async fn burn(_: Sheet) -> Result<(), Failure> {
    Err(Failure::new("burnt", "by intention"))
}

fn sheet(text: impl Into<String>) -> Sheet {
    Sheet { text: text.into() }
}

fn harness(broker: InProcessBuilder) -> Harness {
    Harness::on(broker.build().unwrap())
}

fn reader(harness: &Harness, log: &Log) -> catga::Builder {
    harness.node("reader").discover(false).state(log.clone()).handler(read)
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn events_are_kept_for_the_age_that_was_set() {
    for (away, kept) in [(50, 1), (70, 0)] {
        let (harness, log) = (harness(InProcess::builder().max_age(HOUR)), Log::default());
        let writer = harness.node("writer").discover(false).build().await.unwrap();
        reader(&harness, &log).build().await.unwrap().shutdown().await.unwrap();
        writer.publish(sheet("kept")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(away * 60)).await;
        let reader = reader(&harness, &log).build().await.unwrap();
        harness.settled().await.unwrap();
        assert_eq!((log.len() as u64, reader.counts().lagged), (kept, 1 - kept), "after {away} minutes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_as_large_as_was_set() {
    let harness = harness(InProcess::builder().max_payload(100));
    let node = reader(&harness, &Log::default()).build().await.unwrap();
    node.publish(sheet("x".repeat(50))).await.unwrap();
    let error = node.publish(sheet("x".repeat(100))).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::TooLarge, Outcome::NotStarted));
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_twice_is_recognised_for_the_time_that_was_set() {
    for (minutes, times) in [(50, 1), (70, 2)] {
        let (harness, log) = (harness(InProcess::builder().duplicate_window(HOUR)), Log::default());
        let writer = harness.node("writer").discover(false).build().await.unwrap();
        let options = PublishOptions { id: Some(MessageId::new()), ..PublishOptions::default() };
        for _ in 0..2 {
            // A node that starts again has forgotten what it handled.
            let reader = reader(&harness, &log).build().await.unwrap();
            writer.publish_with(sheet("once"), options.clone()).await.unwrap();
            harness.settled().await.unwrap();
            reader.shutdown().await.unwrap();
            tokio::time::sleep(Duration::from_secs(minutes * 60)).await;
        }
        assert_eq!(log.len(), times, "after {minutes} minutes");
    }
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_kept_for_the_age_and_up_to_the_bytes_that_were_set() {
    let harness = harness(InProcess::builder().dead_letter_age(HOUR).dead_letter_bytes(10_000));
    let node = harness.node("burner").discover(false).handler(burn).build().await.unwrap();
    for _ in 0..10 {
        node.publish(sheet("x".repeat(2_000))).await.unwrap();
    }
    harness.settled().await.unwrap();
    let letters = async || node.dead_letters().list(None, 100).await.unwrap().len();
    assert!((1..5).contains(&letters().await), "{}", letters().await);
    tokio::time::sleep(HOUR + Duration::from_secs(60)).await;
    assert_eq!(letters().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_confirm_is_waited_for_as_was_set() {
    let harness = harness(InProcess::builder().store_timeout(Duration::from_millis(100)));
    let node = harness.node("writer").discover(false).build().await.unwrap();
    harness.inject(Fault::drop(Traffic::StoreConfirmation)).await;
    let start = tokio::time::Instant::now();
    let error = node.publish(sheet("lost")).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::TimedOut, Outcome::Unknown));
    assert!(start.elapsed() < Duration::from_millis(400), "three attempts of 100 ms, not {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn bounds_that_nothing_could_work_with_are_refused() {
    let zero = Duration::ZERO;
    let broker = InProcess::builder().max_age(zero).max_bytes(0).max_payload(0).store_timeout(zero);
    let error = broker.dead_letter_age(zero).dead_letter_bytes(0).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    for bound in ["max_age", "max_bytes", "max_payload", "store_timeout", "dead_letter_age", "dead_letter_bytes"] {
        assert!(error.to_string().contains(&format!("`{bound}` is zero")), "{error}");
    }
    let error = InProcess::builder().duplicate_window(zero).build().unwrap_err();
    assert!(error.to_string().contains("`duplicate_window` is shorter than 6s"), "{error}");
}
