//! What a recorder of the crate `metrics` is shown.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use catga::{
    Command, Event, Failure, Limits, Mediator, handler,
    testing::{Fault, Harness, Traffic},
};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use serde::{Deserialize, Serialize};

#[derive(Command, Clone, Serialize, Deserialize)]
#[catga(name = "metrics.Work")]
struct Work {
    how: String,
}

#[handler(name = "metrics.work", timeout = "1s", concurrency = 1)]
async fn work(command: Work) -> Result<(), Failure> {
    match &*command.how {
        "fails" => Err(Failure::new("no", "it fails")),
        "panics" => unreachable!("it panics"),
        "hangs" => std::future::pending().await,
        "waits" => {
            tokio::time::sleep(Duration::from_millis(250)).await;
            Ok(())
        }
        _ => Ok(()),
    }
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[catga(name = "metrics.Told")]
struct Told {}

#[handler(name = "metrics.hear", attempts = 3)]
async fn hear(_: Told) -> Result<(), Failure> {
    Err(Failure::new("deaf", "it hears nothing"))
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
#[catga(name = "metrics.Kept")]
struct Kept {}

#[handler(name = "metrics.keep", group = "cellar", attempts = 2)]
async fn keep(_: Kept) -> Result<(), Failure> {
    Err(Failure::new("full", "it keeps nothing"))
}

/// What was counted, and how many times were taken, by name and labels.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<String, u64>>>);

/// One metric.
struct Cell(Seen, String);

impl Seen {
    fn add(&self, name: &str, count: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default() += count;
    }

    fn of(&self, name: &str) -> u64 {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *seen.get(name).unwrap_or_else(|| panic!("no {name} in {:#?}", seen.keys()))
    }

    fn cell(&self, key: &Key) -> Arc<Cell> {
        let labels: BTreeMap<_, _> = key.labels().map(|label| (label.key(), label.value())).collect();
        let labels: Vec<_> = labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        let name = format!("{} {}", key.name(), labels.join(" ")).trim().to_owned();
        self.add(&name, 0);
        Arc::new(Cell(self.clone(), name))
    }
}

impl CounterFn for Cell {
    fn increment(&self, count: u64) {
        self.0.add(&self.1, count);
    }

    fn absolute(&self, _: u64) {}
}

impl HistogramFn for Cell {
    fn record(&self, seconds: f64) {
        assert!((0.0..10.0).contains(&seconds), "{seconds} s");
        self.0.add(&self.1, 1);
    }
}

impl Recorder for Seen {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        assert_eq!((name.as_str(), unit), ("messaging.process.duration", Some(Unit::Seconds)));
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.cell(key))
    }
}

fn work_that(how: &str) -> Work {
    Work { how: how.to_owned() }
}

#[tokio::test(start_paused = true)]
async fn every_run_of_a_handler_is_timed_by_how_it_ended() {
    let seen = Seen::default();
    let _recorder = metrics::set_default_local_recorder(&seen);
    let mediator = Mediator::builder().discover(false).handler(work).handler(keep).build().await.unwrap();
    mediator.send(work_that("succeeds")).await.unwrap();
    mediator.send(work_that("waits")).await.unwrap();
    for how in ["fails", "panics", "hangs"] {
        mediator.send(work_that(how)).await.unwrap_err();
    }
    drop(tokio::time::timeout(Duration::from_millis(1), mediator.send(work_that("hangs"))).await);
    mediator.publish(Kept {}).await.unwrap();
    mediator.shutdown().await.unwrap();

    let labels = "messaging.destination.name=metrics.Work messaging.system=catga";
    let time = |error: &str| seen.of(&format!("messaging.process.duration catga.handler=metrics.work {error}{labels}"));
    assert_eq!(time(""), 2);
    for error in ["failure", "panic", "timeout", "cancelled"] {
        assert_eq!(time(&format!("error.type={error} ")), 1, "{error}");
    }
    let group = "messaging.consumer.group.name=cellar messaging.destination.name=metrics.Kept messaging.system=catga";
    let kept = format!("messaging.process.duration catga.handler=metrics.keep error.type=failure {group}");
    assert_eq!(seen.of(&kept), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_is_counted_by_its_type() {
    let seen = Seen::default();
    let _recorder = metrics::set_default_local_recorder(&seen);
    let node = Mediator::builder().discover(false).handler(work).handler(hear).handler(keep);
    let mediator = node.build().await.unwrap();
    for _ in 0..3 {
        mediator.send(work_that("succeeds")).await.unwrap();
    }
    mediator.publish(Told {}).await.unwrap();
    mediator.publish(Kept {}).await.unwrap();
    mediator.shutdown().await.unwrap();
    for (name, count) in [("Work", 3), ("Told", 1), ("Kept", 1)] {
        let labels = format!("messaging.destination.name=metrics.{name} messaging.system=catga");
        assert_eq!(seen.of(&format!("messaging.client.sent.messages {labels}")), count, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_a_node_counts_the_recorder_is_shown_too() {
    let seen = Seen::default();
    let _recorder = metrics::set_default_local_recorder(&seen);
    let harness = Harness::new();
    let limits = Limits { queue: 1, ..Limits::default() };
    let node = |id: &str| harness.node(id).discover(false).handler(work).handler(hear).handler(keep);
    let first = node("node1").limits(limits.clone()).build().await.unwrap();
    let second = node("node2").limits(limits).build().await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;

    first.publish(Told {}).await.unwrap();
    first.publish(Kept {}).await.unwrap();
    harness.settled().await.unwrap();
    harness.inject(Fault::drop(Traffic::Event).times(1)).await;
    for _ in 0..2 {
        first.publish(Told {}).await.unwrap();
        harness.settled().await.unwrap();
    }
    let many = (0..8).map(|_| first.send(work_that("waits")));
    drop(futures_util::future::join_all(many).await);
    harness.settled().await.unwrap();

    let sum = |of: fn(&catga::Counts) -> u64| of(&first.counts()) + of(&second.counts());
    for (name, counted, happened) in [
        ("dropped", sum(|counts| counts.dropped), false),
        ("gaps", sum(|counts| counts.gaps), true),
        ("late_replies", sum(|counts| counts.late_replies), false),
        ("retries", sum(|counts| counts.retries), true),
        ("failed", sum(|counts| counts.failed), true),
        ("dead_letters", sum(|counts| counts.dead_letters), true),
        ("lagged", sum(|counts| counts.lagged), false),
        ("duplicates", sum(|counts| counts.duplicates), false),
        ("refused", sum(|counts| counts.refused), true),
    ] {
        assert_eq!(seen.of(&format!("catga.{name}")), counted, "{name}");
        assert!(counted > 0 || !happened, "{name}");
    }
}
