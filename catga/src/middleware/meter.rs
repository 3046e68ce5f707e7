//! What a recorder of the crate `metrics` is shown, under the names of OpenTelemetry's conventions for messaging where
//! they fit.
//!
//! Handles are made when a node is built, for the recorder that is there by then: on the path of a message nothing is
//! looked up and nothing allocated. Without the feature, `unmetered` stands in the place of this file.

use std::sync::Arc;

use metrics::{Counter, Histogram, Label, Unit, counter, describe_histogram, histogram};
use tokio::time::Instant;

use super::run::{Cause, RunError};

/// How long runs of handlers took, in seconds.
const DURATION: &str = "messaging.process.duration";

/// A count.
#[derive(Debug)]
pub(crate) struct Shown(Counter);

impl Shown {
    pub(crate) fn count(name: &'static str) -> Self {
        Self(counter!(name))
    }

    /// How many messages of a type were sent or published.
    pub(crate) fn sent(message: &'static str) -> Self {
        Self(counter!("messaging.client.sent.messages", labels(message)))
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.increment(count);
    }
}

/// Takes the times of one handler's runs.
#[derive(Clone, Debug)]
pub(crate) struct Meter(Arc<Times>);

/// By how a run ended.
#[derive(Debug)]
struct Times {
    succeeded: Histogram,
    failed: Histogram,
    panicked: Histogram,
    timed_out: Histogram,
    not_emitted: Histogram,
    cancelled: Histogram,
}

impl Meter {
    pub(crate) fn new(message: &'static str, handler: &'static str, group: Option<&'static str>) -> Self {
        describe_histogram!(DURATION, Unit::Seconds, "how long runs of handlers took");
        let time = |error: Option<&'static str>| {
            let mut labels = labels(message);
            labels.push(Label::from_static_parts("catga.handler", handler));
            labels.extend(group.map(|group| Label::from_static_parts("messaging.consumer.group.name", group)));
            labels.extend(error.map(|error| Label::from_static_parts("error.type", error)));
            histogram!(DURATION, labels)
        };
        Self(Arc::new(Times {
            succeeded: time(None),
            failed: time(Some("failure")),
            panicked: time(Some("panic")),
            timed_out: time(Some("timeout")),
            not_emitted: time(Some("not_emitted")),
            cancelled: time(Some("cancelled")),
        }))
    }

    pub(crate) fn begin(&self) -> Timing {
        Timing { times: self.0.clone(), began: Instant::now(), ended: false }
    }
}

/// The time of one run; one that is dropped before its end was cancelled.
pub(crate) struct Timing {
    times: Arc<Times>,
    began: Instant,
    ended: bool,
}

impl Timing {
    pub(crate) fn end<R>(mut self, result: &Result<R, RunError>) {
        let times = &self.times;
        let time = match result.as_ref().map_err(|error| error.cause) {
            Ok(_) => &times.succeeded,
            Err(Cause::Answered) => &times.failed,
            Err(Cause::Panicked) => &times.panicked,
            Err(Cause::TimedOut) => &times.timed_out,
            Err(Cause::NotEmitted) => &times.not_emitted,
        };
        time.record(self.began.elapsed());
        self.ended = true;
    }
}

impl Drop for Timing {
    fn drop(&mut self) {
        if !self.ended {
            self.times.cancelled.record(self.began.elapsed());
        }
    }
}

fn labels(message: &'static str) -> Vec<Label> {
    let system = Label::from_static_parts("messaging.system", "catga");
    vec![system, Label::from_static_parts("messaging.destination.name", message)]
}
