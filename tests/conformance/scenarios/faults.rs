//! Signs and deliveries that get lost or doubled on their way.

use crate::{
    bench::Bench,
    conformance_tests,
    history::{Fault, What},
    messages::{AUDIT, NOTE, Plan},
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

fn redelivered(history: &crate::history::History) -> bool {
    history.0.iter().any(|entry| matches!(entry.what, What::Delivered { deliveries, .. } if deliveries > 1))
}

conformance_tests! {
    lost_acknowledgements_lead_to_deliveries_that_are_recognised, [P3, P4a], redelivered;
    lost_and_doubled_deliveries_are_made_good, [P3, P4a], redelivered;
    a_store_whose_word_is_lost_stores_once, [P2, P3, P4a], |history| history.effects().count() == 100;
}
