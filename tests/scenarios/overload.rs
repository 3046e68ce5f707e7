//! Overload: what waits for its turn, what is refused, what finds no room.

use std::time::Duration;

use catga::{
    Command, ErrorKind, Event, Limits, Outcome, SendOptions, State, handler,
    testing::{Fault, Harness, Traffic},
};
use catga_tests::Log;
use serde::{Deserialize, Serialize};

use super::requests::{Work, member, work};

#[derive(Command, Clone, Serialize, Deserialize)]
struct Together {}

#[handler]
async fn together(_: Together, State(log): State<Log>) {
    tokio::time::sleep(Duration::from_millis(100)).await;
    log.add("run");
}

#[tokio::test(start_paused = true)]
async fn more_requests_than_may_run_wait_for_their_turn_and_too_many_are_refused() {
    let (harness, log) = (Harness::new(), Log::default());
    let limits = Limits { queue: 3, ..Limits::default() };
    let node = harness.node("node1").discover(false).state(log.clone()).handler(work).limits(limits);
    let node = node.build().await.unwrap();
    let sends = (0..8).map(|_| node.send(Work { millis: 100 }));
    let results = futures_util::future::join_all(sends).await;
    let refused: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert_eq!(refused.len(), 3, "two run and three wait");
    for error in refused {
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::Overloaded, Outcome::NotStarted));
    }
    assert_eq!(log.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_frees_its_place_in_the_queue() {
    let (harness, log) = (Harness::new(), Log::default());
    let limits = Limits { queue: 1, ..Limits::default() };
    let node = harness.node("node1").discover(false).state(log.clone()).handler(work).limits(limits);
    let node = node.build().await.unwrap();
    let running = tokio::spawn(futures_util::future::join_all([(); 2].map(|()| node.send(Work { millis: 100 }))));
    tokio::time::sleep(Duration::from_millis(10)).await;
    for _ in 0..3 {
        let waiting = node.send(Work { millis: 100 });
        tokio::time::timeout(Duration::from_millis(10), waiting).await.unwrap_err();
        tokio::task::yield_now().await;
    }
    node.send(Work { millis: 100 }).await.unwrap();
    assert!(running.await.unwrap().iter().all(Result::is_ok));
    assert_eq!((log.len(), node.counts().refused), (6, 0));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_awaited_is_not_sent_and_takes_no_place() {
    let (harness, log) = (Harness::new(), Log::default());
    let limits = Limits { queue: 1, ..Limits::default() };
    let node = harness.node("node1").discover(false).state(log.clone()).handler(work).limits(limits);
    let node = node.build().await.unwrap();
    // As many as may run and wait.
    let unsent = [(); 3].map(|()| node.send(Work { millis: 0 }));
    node.send(Work { millis: 0 }).await.unwrap();
    assert_eq!(log.len(), 2);
    for sending in unsent {
        sending.await.unwrap();
    }
    assert_eq!(log.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_full_node_passes_a_request_on() {
    let (harness, log) = (Harness::new(), Log::default());
    let limits = Limits { queue: 1, ..Limits::default() };
    let first = harness.node("node1").discover(false).state(log.clone()).handler(work).limits(limits);
    let first = first.build().await.unwrap();
    let _second = member(&harness, "node2", &log).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let sends = (0..5).map(|_| first.send(Work { millis: 100 }));
    let mut nodes: Vec<_> = futures_util::future::join_all(sends).await.into_iter().map(Result::unwrap).collect();
    nodes.sort();
    assert_eq!(nodes, ["node1", "node1", "node1", "node2", "node2"]);
}

#[tokio::test(start_paused = true)]
async fn replies_that_find_no_room_are_counted_and_asked_for_again() {
    let (harness, log) = (Harness::new(), Log::default());
    let _node = harness.node("node1").discover(false).state(log.clone()).handler(together).build().await.unwrap();
    let limits = Limits { queue: 2, ..Limits::default() };
    let caller = harness.node("caller").discover(false).limits(limits).build().await.unwrap();
    let results = futures_util::future::join_all((0..10).map(|_| caller.send(Together {}))).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(log.len(), 10);
    assert_eq!(
        caller.counts().lost_replies,
        8,
        "two found room, and eight came together when they were asked for again"
    );
}

#[tokio::test(start_paused = true)]
async fn what_found_no_room_to_leave_by_its_deadline_was_certainly_not_started() {
    let (harness, log) = (Harness::new(), Log::default());
    let _node = member(&harness, "node1", &log).await;
    let limits = Limits { queue: 1, ..Limits::default() };
    let caller = harness.node("caller").discover(false).limits(limits).build().await.unwrap();
    let (timeout, node) = (Some(Duration::ZERO), Some("node1".into()));
    let options = SendOptions { timeout, node, ..SendOptions::default() };
    let sends = (0..5).map(|_| caller.send_with(Together {}, options.clone()));
    let results = futures_util::future::join_all(sends).await;
    let errors: Vec<_> = results.into_iter().map(Result::unwrap_err).collect();
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::TimedOut), "{errors:?}");
    let outcomes: Vec<_> = errors.iter().map(catga::Error::outcome).collect();
    assert_eq!(outcomes[0], Outcome::Unknown, "it left");
    assert_eq!(outcomes[1..], [Outcome::NotStarted; 4]);
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Kept {
    number: u32,
}

#[handler]
async fn keep(event: Kept, State(log): State<Log>) {
    log.add(event.number.to_string());
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_store_that_stands_still_ends_in_time_and_what_is_said_of_it_is_true() {
    let (harness, log) = (Harness::new(), Log::default());
    let limits = Limits { queue: 2_048, ..Limits::default() };
    let node = harness.node("node1").discover(false).state(log.clone()).handler(keep).limits(limits.clone());
    let node = node.build().await.unwrap();
    harness.inject(Fault::drop(Traffic::StoreConfirmation)).await;
    let start = tokio::time::Instant::now();
    let publish = async |number: u32| {
        let outcome = node.publish(Kept { number }).await.unwrap_err().outcome();
        assert!(start.elapsed() < limits.send_deadline * 11 / 10, "{number}: {:?}", start.elapsed());
        (number.to_string(), outcome)
    };
    // More than leave, than are held back, and than find room.
    let mut ended = futures_util::future::join_all((0..4_000).map(publish)).await;
    harness.heal().await;
    harness.settled().await.unwrap();
    let handled = log.lines();
    ended.retain(|(_, outcome)| *outcome == Outcome::NotStarted);
    assert!((1_500..3_000).contains(&ended.len()), "{} were said not to have left", ended.len());
    assert!(ended.iter().all(|(number, _)| !handled.contains(number)));
    assert!(handled.len() > 1_000, "{} were handled: those that left were stored", handled.len());
}
