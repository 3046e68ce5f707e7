//! What does not come, or does not leave: everybody who waits for it is told in time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use catga::{
    Event, Limits, Mediator, Outcome, State, handler,
    testing::{Fault, Harness},
};
use catga_tests::Log;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use super::{
    link::GuardedBroker,
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

/// A node whose requests and events leave until the flag is set.
async fn stalling(harness: &Harness, log: &Log, queue: usize) -> (Mediator, Arc<AtomicBool>) {
    let stalls = Arc::new(AtomicBool::new(false));
    let flag = stalls.clone();
    let before = Arc::new(move |_| -> futures_util::future::BoxFuture<'static, _> {
        match flag.load(Ordering::SeqCst) {
            true => Box::pin(std::future::pending()),
            false => Box::pin(std::future::ready(Ok(()))),
        }
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
    stalls.store(true, Ordering::SeqCst);
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
    }
    stalls.store(false, Ordering::SeqCst);
    assert_eq!(log.len(), before);
}

#[tokio::test(start_paused = true)]
async fn events_that_a_store_never_takes_end_in_time_however_long_it_takes_none() {
    // Some that leave, some that are held, and some that find no room.
    for first in [1_057, 1_073, 1_300] {
        let (harness, log) = (Harness::new(), Log::default());
        let (node, stalls) = stalling(&harness, &log, 64).await;
        node.publish(Noted { number: 0 }).await.unwrap();
        stalls.store(true, Ordering::SeqCst);
        let publish = async |at: u64, number: u32| {
            sleep(Duration::from_secs(at)).await;
            timeout(IN_TIME, node.publish(Noted { number })).await.expect("it ends").unwrap_err();
        };
        let wave = |at, count| join_all((0..count).map(|number| publish(at, number)));
        tokio::join!(wave(0, first), wave(2, 32), wave(6, 20));
        assert_eq!(log.len(), 1);
    }
}
