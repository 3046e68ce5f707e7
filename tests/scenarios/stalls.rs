//! What does not come, or does not leave: everybody who waits for it is told in time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use catga::{
    Error, ErrorKind, Event, Limits, Mediator, Outcome, State, handler,
    testing::{Fault, Harness},
};
use catga_tests::Log;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    link::{Before, GuardedBroker, Step},
    requests::{Work, member},
};

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Noted {
    number: u32,
}

#[handler(name = "stalls.note")]
async fn note(event: Noted, State(log): State<Log>) {
    log.add(event.number.to_string());
}

/// A node whose requests and events leave while it is not told otherwise.
async fn stalling(harness: &Harness, log: &Log, queue: usize) -> (Mediator, watch::Sender<bool>) {
    let (stalls, stalled) = watch::channel(false);
    let before: Before = Arc::new(move |_| {
        let mut stalled = stalled.clone();
        Box::pin(async move {
            let _ = stalled.wait_for(|stalls| !stalls).await;
            Ok(())
        })
    });
    let broker = GuardedBroker { inner: harness.broker().clone(), before };
    let builder = harness.node_on(broker, "caller").discover(false).state(log.clone()).handler(note);
    (builder.limits(Limits { queue, ..Limits::default() }).build().await.unwrap(), stalls)
}

/// How long each waits, and somewhat more.
const IN_TIME: Duration = Duration::from_millis(5_500);

#[tokio::test(start_paused = true)]
async fn who_asks_a_silent_node_after_a_late_reply_is_told() {
    let (harness, log) = (Harness::new(), Log::default());
    let (caller, _) = stalling(&harness, &log, 64).await;
    let _member = member(&harness, "node1", &log).await;
    caller.send(Work { millis: 0 }).await.unwrap();
    // The reply comes when nobody waits any more, and nothing is under way.
    timeout(Duration::from_millis(50), caller.send(Work { millis: 400 })).await.unwrap_err();
    sleep(Duration::from_secs(1)).await;
    harness.inject(Fault::cut("node1")).await;
    let start = Instant::now();
    caller.send(Work { millis: 0 }).await.unwrap_err();
    assert!(start.elapsed() < IN_TIME, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn requests_that_do_not_leave_end_in_time_and_leave_no_more() {
    let (harness, log) = (Harness::new(), Log::default());
    let (caller, stalls) = stalling(&harness, &log, 8).await;
    let _member = member(&harness, "node1", &log).await;
    caller.send(Work { millis: 0 }).await.unwrap();
    let before = log.len();
    stalls.send_replace(true);
    let mut may_run = 0;
    for wave in 0..3 {
        let send = async |_| {
            let start = Instant::now();
            let error = timeout(IN_TIME, caller.send(Work { millis: 0 })).await.expect("it ends").unwrap_err();
            assert!(start.elapsed() < IN_TIME);
            error.outcome()
        };
        let outcomes = join_all((0..40).map(send)).await;
        let never_left = outcomes.iter().filter(|outcome| **outcome == Outcome::NotStarted).count();
        assert!(never_left >= 24, "wave {wave}: {outcomes:?}");
        may_run += outcomes.len() - never_left;
    }
    stalls.send_replace(false);
    sleep(Duration::from_secs(10)).await;
    let runs = (log.len() - before) / 2;
    assert!(runs <= may_run, "{runs} ran, and of {may_run} it was said that they may");
}

#[tokio::test(start_paused = true)]
async fn events_that_a_store_never_takes_end_in_time_however_long_it_takes_none() {
    // Some that leave, some that are held, and some that find no room.
    for (queue, first) in [(64, 1_057), (64, 1_073), (2_048, 3_000)] {
        let (harness, log) = (Harness::new(), Log::default());
        let (node, stalls) = stalling(&harness, &log, queue).await;
        node.publish(Noted { number: 0 }).await.unwrap();
        stalls.send_replace(true);
        let publish = async |at: u64, number: u32| {
            sleep(Duration::from_secs(at)).await;
            timeout(IN_TIME, node.publish(Noted { number })).await.expect("it ends").unwrap_err();
        };
        let wave = |at, count| join_all((0..count).map(|number| publish(at, number)));
        tokio::join!(wave(0, first), wave(2, 32), wave(6, 20));
        assert_eq!(log.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_was_refused_says_nothing_of_the_one_that_runs() {
    let (harness, log) = (Harness::new(), Log::default());
    let asked = Arc::new(AtomicUsize::new(0));
    // The request, a probe, and then the request once more, which does not leave.
    let count = asked.clone();
    let before: Before = Arc::new(move |step| {
        let refuses = step == Step::Request && count.fetch_add(1, Ordering::SeqCst) == 2;
        let refused = || Error::new(ErrorKind::Transport, Outcome::NotStarted, "no connection for a moment");
        Box::pin(std::future::ready(if refuses { Err(refused()) } else { Ok(()) }))
    });
    let broker = GuardedBroker { inner: harness.broker().clone(), before };
    let caller = harness.node_on(broker, "caller").discover(false).build().await.unwrap();
    let _members = [member(&harness, "node1", &log).await, member(&harness, "node2", &log).await];
    let handled_by = caller.send(Work { millis: 1_000 }).await.unwrap();
    assert!(asked.load(Ordering::SeqCst) > 2);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(log.lines(), [format!("start {handled_by}"), format!("end {handled_by}")]);
}
