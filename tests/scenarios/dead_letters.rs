//! What handlers give up: kept whole, listed, replayed, deleted; and what kills its process.

use std::time::Duration;

use catga::{
    Event, Failure, State, handler,
    testing::{Fault, Harness, Traffic},
};
use catga_tests::Log;
use serde::{Deserialize, Serialize};

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Rejected {
    order: u32,
}

#[handler]
async fn reject(_: Rejected) -> Result<(), Failure> {
    Err(Failure::new("no", "never"))
}

#[handler]
async fn accept(event: Rejected, State(log): State<Log>) {
    log.add(event.order.to_string());
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Deadly {
    number: u32,
}

#[handler]
async fn die(event: Deadly, State(log): State<Log>, mediator: catga::Mediator) {
    if event.number == 3 {
        log.add("died");
        mediator.kill();
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    log.add(event.number.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_complete_and_its_replay_takes_effect_once() {
    let harness = Harness::new();
    let node = harness.node("node1").discover(false).handler(reject).build().await.unwrap();
    node.publish(Rejected { order: 1 }).await.unwrap();
    harness.settled().await.unwrap();
    let letters = node.dead_letters().list(None, 10).await.unwrap();
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!(letter.attempts, 4);
    assert_eq!(letter.failure.code(), "no");
    assert_eq!(letter.handler.as_deref(), Some("catga-tests.reject"));
    assert_eq!(&*letter.node, "node1");
    let message = letter.message().unwrap();
    assert_eq!(&*message.name, "catga-tests.Rejected");
    assert_eq!(message.payload, r#"{"order":1}"#);
    assert_eq!(harness.record().failed::<Rejected>().count(), 4);
    node.dead_letters().replay(letter.id).await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(harness.record().failed::<Rejected>().count(), 8);
    let again = node.dead_letters().list(None, 10).await.unwrap();
    assert_eq!(again.len(), 1);
    assert_ne!(again[0].id, letter.id);
    assert_eq!(again[0].replays, 1);
    node.dead_letters().delete(again[0].id).await.unwrap();
    assert_eq!(node.dead_letters().get(again[0].id).await.unwrap_err().kind(), catga::ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_retry_for_a_handler_that_is_gone_becomes_a_dead_letter() {
    let (harness, log) = (Harness::new(), Log::default());
    let first = harness.node("node1").discover(false).handler(reject).build().await.unwrap();
    first.publish(Rejected { order: 1 }).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    first.kill();
    // The next version of the node handles the event under another name.
    let second = harness.node("node1").discover(false).state(log.clone()).handler(accept).build().await.unwrap();
    harness.settled().await.unwrap();
    let letters = second.dead_letters().list(None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].failure.code(), letters[0].attempts), ("no_handler", 1));
}

#[tokio::test(start_paused = true)]
async fn lost_acknowledgements_cost_no_attempt() {
    let harness = Harness::new();
    let node = harness.node("node1").discover(false).handler(reject).build().await.unwrap();
    harness.inject(Fault::drop(Traffic::Acknowledgement).times(3)).await;
    node.publish(Rejected { order: 1 }).await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(harness.record().failed::<Rejected>().count(), 4);
    assert_eq!(harness.record().dead_lettered::<Rejected>().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_kills_its_process_ends_alone_as_a_dead_letter() {
    let (harness, log) = (Harness::new(), Log::default());
    let publisher = harness.node("publisher").discover(false).build().await.unwrap();
    let worker = || harness.node("worker").discover(false).state(log.clone()).handler(die);
    worker().build().await.unwrap().kill();
    publisher.publish_all((0..32).map(|number| Deadly { number })).await.unwrap();
    let mut starts = 0;
    while publisher.dead_letters().list(None, 10).await.unwrap().is_empty() {
        starts += 1;
        assert!(starts < 20, "the process was killed {} times", log.count("died"));
        let _worker = worker().build().await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    harness.settled().await.unwrap();
    let letters = publisher.dead_letters().list(None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].failure.code(), "crash_limit");
    assert_eq!(letters[0].message().unwrap().payload, r#"{"number":3}"#);
    assert_eq!(log.count("died"), 10);
    for number in (0..32).filter(|number| *number != 3) {
        assert!(log.count(&number.to_string()) >= 1, "{number} was not handled");
    }
}

#[tokio::test(start_paused = true)]
async fn dead_letters_can_be_listed_while_they_are_deleted() {
    let harness = Harness::new();
    let node = harness.node("node1").discover(false).handler(reject).build().await.unwrap();
    node.publish_all((0..5).map(|order| Rejected { order })).await.unwrap();
    harness.settled().await.unwrap();
    let letters = node.dead_letters();
    let (mut seen, mut after) = (0, None);
    while let [letter] = &letters.list(after, 1).await.unwrap()[..] {
        letters.delete(letter.id).await.unwrap();
        (seen, after) = (seen + 1, Some(letter.id));
    }
    assert_eq!(seen, 5);
}
