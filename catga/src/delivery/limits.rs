//! Every limit of a node, its default and the reason for it.

use std::time::Duration;

/// The limits of a node; the builder sets them with [`limits`](crate::Builder::limits).
///
/// ```
/// use std::time::Duration;
/// use catga::{Limits, Mediator};
///
/// let builder = Mediator::builder().limits(Limits { send_deadline: Duration::from_secs(2), ..Limits::default() });
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// How long a sender waits for its reply: 5 s. People give up at about that time.
    pub send_deadline: Duration,
    /// How long one run of a handler may take: 30 s. Longer work belongs into steps.
    pub handler_timeout: Duration,
    /// How often the handler of an event runs, the first run included: 4. A blip of a dependency is over by then.
    pub event_attempts: u32,
    /// How often the handler of a request runs: 1. Its sender may send again, and knows whether that is safe.
    pub request_attempts: u32,
    /// The delay before the second run: 100 ms, then four times as long each time, at most 30 s.
    pub backoff: Duration,
    /// How many runs of one handler go on at the same time: 64. Enough to hide waiting, few enough for a connection pool.
    pub concurrency: usize,
    /// How many messages wait in each queue: for a handler, for a lane, for a subscription: 4,096. A reliable event counts until
    /// the store has confirmed it.
    pub queue: usize,
    /// How many reliable events are delivered to a durable and not settled: 1,000.
    pub in_flight: usize,
    /// How long a delivery may go without a sign of progress before it is made again: 30 s.
    pub ack_wait: Duration,
    /// How many runs of a message may end without an answer before it counts as one that kills its process: 10. It is a dead
    /// letter then. From the third on it runs alone.
    pub crash_limit: u32,
    /// The largest reply: 1 MiB, or less where the transport carries less. It holds where a reply is encoded: for what another
    /// node asked, for requests with a key, and for all in the test harness. A reply that stays in the process as it is takes
    /// no encoding to measure, and passes.
    pub max_reply: usize,
    /// How long the outcome of a command is remembered: 10 minutes.
    pub idempotency_window: Duration,
    /// How much memory the outcomes take: 64 MiB. The ones not asked for longest go first.
    pub idempotency_bytes: u64,
    /// How many requests are claimed at the same time: 100,000. Nothing evicts a claim; beyond, requests are refused.
    pub idempotency_claims: usize,
    /// How often a request goes to a node before the sender is told: 4.
    pub delivery_attempts: u32,
    /// After how much silence the node that has a request is probed, first: 200 ms. Then each second.
    pub probe_after: Duration,
    /// How long a probe may take: 500 ms. Then the node counts as gone.
    pub probe_timeout: Duration,
    /// How long a node that failed a request is passed over: 5 s.
    pub avoid_for: Duration,
    /// How long an event of QoS 0 waits for room in its lane before it is dropped: 1 s.
    pub publish_timeout: Duration,
    /// How often a node announces itself: 10 s.
    pub heartbeat: Duration,
    /// After how much silence a node counts as offline: 30 s.
    pub silence: Duration,
    /// How long shutting down may take: 10 s. Orchestrators kill after 30 s.
    pub shutdown: Duration,
    /// How long the durable of a node with a given id is kept while the node is away: 7 days.
    pub durable_lifetime: Duration,
    /// How long the durable of a node with a generated id is kept while the node is away: 5 minutes.
    pub generated_lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            send_deadline: Duration::from_secs(5),
            handler_timeout: Duration::from_secs(30),
            event_attempts: 4,
            request_attempts: 1,
            backoff: Duration::from_millis(100),
            concurrency: 64,
            queue: 4_096,
            in_flight: 1_000,
            ack_wait: Duration::from_secs(30),
            crash_limit: 10,
            max_reply: 1 << 20,
            idempotency_window: Duration::from_secs(600),
            idempotency_bytes: 64 << 20,
            idempotency_claims: 100_000,
            delivery_attempts: 4,
            probe_after: Duration::from_millis(200),
            probe_timeout: Duration::from_millis(500),
            avoid_for: Duration::from_secs(5),
            publish_timeout: Duration::from_secs(1),
            heartbeat: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            shutdown: Duration::from_secs(10),
            durable_lifetime: Duration::from_secs(7 * 24 * 3600),
            generated_lifetime: Duration::from_secs(300),
        }
    }
}

/// Longer than any setting that is meant; beyond, clocks overflow.
pub(crate) const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// More messages than any node holds at a time; beyond, channels and sums overflow.
pub(crate) const MOST: usize = 1 << 24;

impl Limits {
    /// The limits that nothing could work with, each with what is wrong.
    pub(crate) fn mistakes(&self) -> Vec<(&'static str, &'static str)> {
        let durations = [
            ("send_deadline", self.send_deadline),
            ("handler_timeout", self.handler_timeout),
            ("backoff", self.backoff),
            ("ack_wait", self.ack_wait),
            ("idempotency_window", self.idempotency_window),
            ("probe_after", self.probe_after),
            ("probe_timeout", self.probe_timeout),
            ("avoid_for", self.avoid_for),
            ("publish_timeout", self.publish_timeout),
            ("heartbeat", self.heartbeat),
            ("silence", self.silence),
            ("shutdown", self.shutdown),
            ("durable_lifetime", self.durable_lifetime),
            ("generated_lifetime", self.generated_lifetime),
        ];
        let numbers = [
            ("event_attempts", self.event_attempts as usize),
            ("request_attempts", self.request_attempts as usize),
            ("concurrency", self.concurrency),
            ("queue", self.queue),
            ("in_flight", self.in_flight),
            ("crash_limit", self.crash_limit as usize),
            ("delivery_attempts", self.delivery_attempts as usize),
        ];
        let mut mistakes = Vec::new();
        for (name, duration) in durations {
            if duration.is_zero() {
                mistakes.push((name, "is zero"));
            } else if duration > LONGEST {
                mistakes.push((name, "is longer than a year"));
            }
        }
        mistakes.extend(numbers.iter().filter(|(_, number)| *number == 0).map(|(name, _)| (*name, "is zero")));
        let held = [("concurrency", self.concurrency), ("queue", self.queue), ("in_flight", self.in_flight)];
        let many = held.iter().filter(|(_, number)| *number > MOST);
        mistakes.extend(many.map(|(name, _)| (*name, "is more than 16,777,216")));
        if self.silence <= self.heartbeat {
            mistakes.push(("silence", "is not longer than `heartbeat`: every node would count as offline"));
        }
        mistakes
    }
}
