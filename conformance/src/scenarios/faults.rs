//! Signs and deliveries that get lost or doubled on their way.

use std::time::Duration;

use catga::Outcome;

use crate::{
    bench::Bench,
    history::{Fault, History, What},
    messages::{AUDIT, NOTE, Plan, SHARE},
    suite::all_of,
};

async fn lost_acknowledgements_lead_to_deliveries_that_are_recognised(bench: &Bench) {
    bench.start("node1", &[NOTE, AUDIT]).await;
    bench.start("node2", &[NOTE]).await;
    bench.fault("", Fault::LoseAcknowledgements(4)).await;
    bench.publish_all("node1", 0..60, &Plan::default()).await;
    bench.settled().await;
}

async fn lost_and_doubled_deliveries_are_made_good(bench: &Bench) {
    bench.start("node1", &[NOTE, AUDIT]).await;
    bench.start("node2", &[NOTE]).await;
    bench.fault("", Fault::LoseDeliveries(3)).await;
    bench.publish_all("node1", 0..40, &Plan::default()).await;
    bench.settled().await;
    bench.fault("", Fault::DoubleDeliveries(3)).await;
    bench.publish_all("node2", 40..80, &Plan::default()).await;
    bench.settled().await;
}

async fn a_store_whose_word_is_lost_stores_once(bench: &Bench) {
    bench.start("node1", &[NOTE]).await;
    bench.start("node2", &[NOTE]).await;
    bench.fault("", Fault::LoseConfirmations(2)).await;
    bench.publish_all("node1", 0..40, &Plan::default()).await;
    bench.fault("", Fault::LoseConfirmations(1)).await;
    bench.publish_all("node2", 40..50, &Plan { fails: 1, ..Plan::default() }).await;
    bench.settled().await;
}

async fn a_store_that_stays_silent_leaves_the_outcome_unknown(bench: &Bench) {
    bench.start("node1", &[NOTE]).await;
    bench.fault("", Fault::LoseConfirmations(usize::MAX)).await;
    bench.publish("node1", 1, Plan::default()).await.unwrap_err();
    bench.fault("", Fault::Heal).await;
    bench.publish("node1", 2, Plan::default()).await.unwrap();
    bench.settled().await;
}

async fn a_node_that_is_cut_off_gets_what_it_missed(bench: &Bench) {
    bench.start("node1", &[NOTE]).await;
    bench.start("node2", &[NOTE, SHARE]).await;
    bench.publish_all("node1", 0..20, &Plan { after_ms: 300, ..Plan::default() }).await;
    bench.pass(Duration::from_millis(100)).await;
    bench.fault("node2", Fault::Cut).await;
    bench.publish_all("node1", 20..40, &Plan::default()).await;
    bench.pass(bench.limits().ack_wait * 7).await;
    bench.fault("", Fault::Heal).await;
    bench.publish_all("node1", 40..60, &Plan::default()).await;
    bench.settled().await;
}

fn outcome_unknown(history: &History) -> bool {
    let unknown = |what: &What| matches!(what, What::Published { outcome: Err(Outcome::Unknown), .. });
    history.0.iter().any(|entry| unknown(&entry.what)) && history.effects().count() == 2
}

fn redelivered(history: &History) -> bool {
    history.0.iter().any(|entry| matches!(entry.what, What::Delivered { deliveries, .. } if deliveries > 1))
}

all_of! {
    lost_acknowledgements_lead_to_deliveries_that_are_recognised, [P3, P4a], redelivered;
    lost_and_doubled_deliveries_are_made_good, [P3, P4a], redelivered;
    a_store_that_stays_silent_leaves_the_outcome_unknown, [P2], outcome_unknown;
    a_node_that_is_cut_off_gets_what_it_missed, [P1, P3], |history| history.effects().count() >= 180;
    a_store_whose_word_is_lost_stores_once, [P2, P3, P4a], |history| history.effects().count() == 100;
}
