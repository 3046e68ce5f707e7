//! The faults of the test harness: each strikes, or is refused.

use std::time::Duration;

use catga::{
    Command, Event, Failure, handler,
    testing::{Fault, Harness, Traffic},
};
use serde::{Deserialize, Serialize};

#[derive(Command, Clone, Serialize, Deserialize)]
struct Decline {}

#[handler]
async fn decline(_: Decline) -> Result<(), Failure> {
    Err(Failure::new("declined", "not today"))
}

#[test]
fn a_fault_that_could_not_strike_is_refused() {
    for traffic in [Traffic::Store, Traffic::StoreConfirmation, Traffic::Acknowledgement] {
        for make in [Fault::duplicate, |traffic| Fault::delay(traffic, Duration::from_secs(1))] {
            let refusal = std::panic::catch_unwind(|| make(traffic)).unwrap_err();
            let text = refusal.downcast_ref::<String>().unwrap();
            assert!(text.contains("can only be dropped") && text.contains(&format!("{traffic:?}")), "{text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_is_an_error_arrives_twice_like_any_other() {
    let harness = Harness::new();
    let _node = harness.node("node1").discover(false).handler(decline).build().await.unwrap();
    let caller = harness.node("caller").discover(false).build().await.unwrap();
    harness.inject(Fault::duplicate(Traffic::Reply).times(1)).await;
    caller.send(Decline {}).await.unwrap_err();
    harness.settled().await.unwrap();
    assert_eq!(caller.counts().late_replies, 1);
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Noted {}

#[handler]
async fn take_note(_: Noted) {}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_cut_off_gets_nothing_whatever_else_would_strike() {
    let harness = Harness::new();
    let cut = harness.node("node1").discover(false).handler(take_note).build().await.unwrap();
    let sender = harness.node("sender").discover(false).build().await.unwrap();
    harness.inject(Fault::duplicate(Traffic::Delivery).times(1)).await;
    harness.inject(Fault::cut(cut.node())).await;
    sender.publish(Noted {}).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(harness.record().handled::<Noted>().count(), 0);
    harness.heal().await;
    harness.settled().await.unwrap();
    assert_eq!(harness.record().handled::<Noted>().count(), 1);
}
