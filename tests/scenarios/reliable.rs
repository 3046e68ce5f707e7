//! Reliable events: stored, handled by every registered node or one of a group, redelivered after a kill.

use std::time::Duration;

use catga::{
    Context, Event, Limits, State, handler,
    testing::{Fault, Harness, Traffic},
};
use catga_tests::Log;
use serde::{Deserialize, Serialize};

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Shipped {
    order: u32,
}

#[handler]
async fn note_shipped(event: Shipped, State(log): State<Log>, ctx: Context) {
    log.add(format!("{} {}", ctx.node(), event.order));
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Mailed {
    order: u32,
}

#[handler(group = "mail")]
async fn mail_once(event: Mailed, State(log): State<Log>, ctx: Context) {
    log.add(format!("{} {}", ctx.node(), event.order));
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Slow {
    order: u32,
}

#[handler]
async fn take_long(event: Slow, State(log): State<Log>, ctx: Context) {
    log.add(format!("start {}", event.order));
    tokio::time::sleep(Duration::from_secs(3)).await;
    log.add(format!("{} {}", ctx.node(), event.order));
}

fn node(harness: &Harness, id: &str, log: &Log) -> catga::Builder {
    harness.node(id).discover(false).state(log.clone()).handler(note_shipped).handler(mail_once).handler(take_long)
}

#[tokio::test(start_paused = true)]
async fn every_registered_node_handles_a_reliable_event_once() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).build().await.unwrap();
    let _second = node(&harness, "node2", &log).build().await.unwrap();
    let _third = node(&harness, "node3", &log).build().await.unwrap();
    for order in 0..100 {
        first.publish(Shipped { order }).await.unwrap();
    }
    harness.settled().await.unwrap();
    for node in ["node1", "node2", "node3"] {
        for order in 0..100 {
            assert_eq!(log.count(&format!("{node} {order}")), 1, "{node} {order}");
        }
    }
    assert_eq!(log.len(), 300);
}

#[tokio::test(start_paused = true)]
async fn what_is_made_of_borrowed_values_can_be_published_in_a_task() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = node(&harness, "node1", &log).build().await.unwrap();
    let publishing = tokio::spawn(async move {
        let orders = [1, 2, 3];
        node.publish_all(orders.iter().map(|order| Shipped { order: *order })).await
    });
    assert_eq!(publishing.await.unwrap().unwrap(), 3);
    harness.settled().await.unwrap();
    assert_eq!(log.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn events_published_together_share_frames_and_are_all_handled() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).build().await.unwrap();
    let _second = node(&harness, "node2", &log).build().await.unwrap();
    let stored = first.publish_all((0..1_000).map(|order| Shipped { order })).await.unwrap();
    assert_eq!(stored, 1_000);
    harness.settled().await.unwrap();
    assert_eq!(log.len(), 2_000);
    assert_eq!(harness.record().handled::<Shipped>().on("node2").count(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn one_member_of_a_group_handles_each_event() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).build().await.unwrap();
    let _second = node(&harness, "node2", &log).build().await.unwrap();
    for order in 0..200 {
        first.publish(Mailed { order }).await.unwrap();
    }
    harness.settled().await.unwrap();
    assert_eq!(log.len(), 200);
    for node in ["node1", "node2"] {
        let share = log.lines().iter().filter(|line| line.starts_with(node)).count();
        assert!(share > 20, "{node} had {share} of 200");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_member_of_a_group_that_is_cut_off_would_get_goes_to_the_other() {
    let (harness, log) = (Harness::new(), Log::default());
    let limits = Limits { ack_wait: Duration::from_secs(2), ..Limits::default() };
    let _first = node(&harness, "node1", &log).limits(limits.clone()).build().await.unwrap();
    let second = node(&harness, "node2", &log).limits(limits).build().await.unwrap();
    harness.inject(Fault::cut("node1")).await;
    second.publish_all((0..10).map(|order| Mailed { order })).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(log.len(), 10, "{:?}", log.lines());
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Billed {
    order: u32,
}

/// Fails on the first node, and late.
#[handler(group = "bill", timeout = "100s")]
async fn bill(event: Billed, State(log): State<Log>, ctx: Context) -> Result<(), catga::Failure> {
    if ctx.node() == "node1" {
        tokio::time::sleep(Duration::from_secs(20)).await;
        return Err(catga::Failure::new("late", "it took too long").transient());
    }
    log.add(format!("{} {}", ctx.node(), event.order));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_a_member_that_was_cut_off_fails_late_is_known_where_it_was_handled_meanwhile() {
    let (harness, log) = (Harness::new(), Log::default());
    let limits = || Limits { ack_wait: Duration::from_secs(2), backoff: Duration::from_secs(60), ..Limits::default() };
    let member = |id: &str| harness.node(id).discover(false).limits(limits()).state(log.clone()).handler(bill).build();
    let first = member("node1").await.unwrap();
    let _second = {
        first.publish(Billed { order: 1 }).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        member("node2").await.unwrap()
    };
    harness.inject(Fault::cut("node1")).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(log.lines(), ["node2 1"], "node2 was to take the place of node1");
    // Now the failed run is stored, for a minute later, and its node is gone when that has passed.
    harness.heal().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    first.kill();
    harness.settled().await.unwrap();
    assert_eq!(log.lines(), ["node2 1"]);
    assert_eq!(harness.record().duplicates::<Billed>().on("node2").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_gets_what_it_missed() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).build().await.unwrap();
    let second = node(&harness, "node2", &log).build().await.unwrap();
    second.shutdown().await.unwrap();
    first.publish(Shipped { order: 7 }).await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(log.lines(), ["node1 7"]);
    let _second = node(&harness, "node2", &log).build().await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(log.lines(), ["node1 7", "node2 7"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_node_had_taken_is_delivered_again_when_it_comes_back() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = harness.node("node1").discover(false).build().await.unwrap();
    let second = node(&harness, "node2", &log).build().await.unwrap();
    first.publish(Slow { order: 1 }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(log.lines(), ["start 1"]);
    assert!(second.kill());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(log.lines(), ["start 1"], "a killed node goes on");
    let _second = node(&harness, "node2", &log).build().await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(log.lines(), ["start 1", "start 1", "node2 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_back_at_once_does_not_wait_for_the_lease_of_its_former_self() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = harness.node("node1").discover(false).build().await.unwrap();
    let second = node(&harness, "node2", &log).build().await.unwrap();
    first.publish(Slow { order: 1 }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    second.kill();
    let _second = node(&harness, "node2", &log).build().await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(log.lines(), ["start 1", "start 1", "node2 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_acknowledgement_is_recognised_as_a_repeat() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).build().await.unwrap();
    harness.inject(Fault::drop(Traffic::Acknowledgement).times(1)).await;
    first.publish(Shipped { order: 1 }).await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(log.lines(), ["node1 1"]);
    assert_eq!(harness.record().duplicates::<Shipped>().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_delivery_and_a_doubled_one_are_handled_once() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).build().await.unwrap();
    harness.inject(Fault::drop(Traffic::Delivery).times(1)).await;
    first.publish(Shipped { order: 1 }).await.unwrap();
    harness.settled().await.unwrap();
    harness.inject(Fault::duplicate(Traffic::Delivery).times(1)).await;
    first.publish(Shipped { order: 2 }).await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(log.lines(), ["node1 1", "node1 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_confirmation_is_repeated_and_stored_once() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).build().await.unwrap();
    harness.inject(Fault::drop(Traffic::StoreConfirmation).times(2)).await;
    first.publish(Shipped { order: 1 }).await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(log.lines(), ["node1 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_confirms_ends_with_an_unknown_outcome() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = node(&harness, "node1", &log).build().await.unwrap();
    harness.inject(Fault::drop(Traffic::Store)).await;
    let error = first.publish(Shipped { order: 1 }).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (catga::ErrorKind::TimedOut, catga::Outcome::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_keeps_its_lease() {
    let (harness, log) = (Harness::new(), Log::default());
    let limits = Limits { ack_wait: Duration::from_secs(1), ..Limits::default() };
    let first = node(&harness, "node1", &log).limits(limits).build().await.unwrap();
    for order in 0..10 {
        first.publish(Slow { order }).await.unwrap();
    }
    harness.settled().await.unwrap();
    for order in 0..10 {
        assert_eq!(log.count(&format!("node1 {order}")), 1);
        assert_eq!(log.count(&format!("start {order}")), 1);
    }
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Attached {
    file: String,
}

#[handler]
async fn keep_file(event: Attached, State(log): State<Log>) {
    log.add(event.file.len().to_string());
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_refused_with_both_numbers_and_a_batch_says_how_many_were_stored() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = harness.node("node1").discover(false).state(log.clone()).handler(keep_file).build().await.unwrap();
    let file = |size: usize| Attached { file: "x".repeat(size) };
    let error = node.publish_all([file(1), file(2), file(2 << 20), file(3)]).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (catga::ErrorKind::TooLarge, catga::Outcome::NotStarted));
    assert_eq!(error.stored(), Some(2));
    let text = error.to_string();
    assert!(text.contains("2097163") && text.contains("1048576"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_falls_behind_what_the_store_keeps_is_told_how_much_it_missed() {
    let log = Log::default();
    let harness = Harness::on(catga::transport::InProcess::builder().max_bytes(100 << 10).build().unwrap());
    let first = harness.node("node1").discover(false).build().await.unwrap();
    let second = || harness.node("node2").discover(false).state(log.clone()).handler(keep_file);
    second().build().await.unwrap().shutdown().await.unwrap();
    for _ in 0..30 {
        first.publish(Attached { file: "x".repeat(10 << 10) }).await.unwrap();
    }
    let second = second().build().await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(log.len() as u64 + second.counts().lagged, 30);
    assert!(second.counts().lagged >= 20, "{:?}", second.counts());
}

#[tokio::test(start_paused = true)]
async fn what_the_store_gave_up_while_a_killed_node_had_it_is_told_as_missed() {
    let log = Log::default();
    let harness = Harness::on(catga::transport::InProcess::builder().max_bytes(100 << 10).build().unwrap());
    let first = harness.node("node1").discover(false).build().await.unwrap();
    let second = || harness.node("node2").discover(false).state(log.clone()).handler(take_long);
    let third = harness.node("node3").discover(false).state(log.clone()).handler(keep_file);
    third.build().await.unwrap().shutdown().await.unwrap();
    let killed = second().build().await.unwrap();
    first.publish(Slow { order: 1 }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..30 {
        first.publish(Attached { file: "x".repeat(10 << 10) }).await.unwrap();
    }
    killed.kill();
    let second = second().build().await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!((log.lines(), second.counts().lagged), (vec!["start 1".to_string()], 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_larger_than_the_whole_store_is_refused() {
    let log = Log::default();
    let harness = Harness::on(catga::transport::InProcess::builder().max_bytes(10 << 10).build().unwrap());
    let node = harness.node("node1").discover(false).state(log.clone()).handler(keep_file).build().await.unwrap();
    let error = node.publish(Attached { file: "x".repeat(20 << 10) }).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (catga::ErrorKind::TooLarge, catga::Outcome::NotStarted));
    node.publish(Attached { file: "x".repeat(5 << 10) }).await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(log.lines(), [(5 << 10).to_string()]);
    assert_eq!(node.counts().lagged, 0);
}

#[tokio::test(start_paused = true)]
async fn events_that_fit_into_the_store_are_not_too_large_together() {
    let harness = Harness::on(catga::transport::InProcess::builder().max_bytes(2_000).build().unwrap());
    let node = harness.node("node1").discover(false).state(Log::default()).handler(keep_file).build().await.unwrap();
    let events = (0..100).map(|_| Attached { file: "x".repeat(100) });
    assert_eq!(node.publish_all(events).await.unwrap(), 100);
}

#[tokio::test(start_paused = true)]
async fn the_place_of_a_node_is_kept_for_its_lifetime() {
    let limits = Limits { durable_lifetime: Duration::from_secs(600), ..Limits::default() };
    for (away, kept) in [(550, 1), (650, 0)] {
        let (harness, log) = (Harness::new(), Log::default());
        let first = harness.node("node1").discover(false).build().await.unwrap();
        let second = || harness.node("node2").discover(false).state(log.clone()).handler(note_shipped);
        second().limits(limits.clone()).build().await.unwrap().kill();
        first.publish(Shipped { order: 1 }).await.unwrap();
        tokio::time::sleep(Duration::from_secs(away)).await;
        let _second = second().limits(limits.clone()).build().await.unwrap();
        harness.settled().await.unwrap();
        assert_eq!(log.len(), kept, "after {away} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_for_good_gives_up_its_place() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = harness.node("node1").discover(false).build().await.unwrap();
    let second = || harness.node("node2").discover(false).state(log.clone()).handler(note_shipped);
    second().build().await.unwrap().leave_for_good().await.unwrap();
    first.publish(Shipped { order: 1 }).await.unwrap();
    let _second = second().build().await.unwrap();
    harness.settled().await.unwrap();
    assert!(log.is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_types_may_share_an_id() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = node(&harness, "node1", &log).build().await.unwrap();
    let options = || catga::PublishOptions { id: Some(catga::MessageId::from_u128(7)), ..Default::default() };
    node.publish_with(Shipped { order: 1 }, options()).await.unwrap();
    node.publish_with(Mailed { order: 2 }, options()).await.unwrap();
    node.publish_with(Shipped { order: 1 }, options()).await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(log.lines(), ["node1 1", "node1 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_of_the_publisher_bounds_the_whole_of_it() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = node(&harness, "node1", &log).build().await.unwrap();
    harness.inject(Fault::drop(Traffic::Store)).await;
    let start = tokio::time::Instant::now();
    let options = catga::PublishOptions { timeout: Some(Duration::from_millis(100)), ..Default::default() };
    let error = node.publish_with(Shipped { order: 1 }, options).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (catga::ErrorKind::TimedOut, catga::Outcome::Unknown));
    assert_eq!(start.elapsed().as_millis(), 100);
}
