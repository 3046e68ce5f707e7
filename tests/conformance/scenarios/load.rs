//! Load without faults.

use crate::{
    bench::Bench,
    conformance_tests,
    history::What,
    messages::{AUDIT, NOTE, Plan, SHARE},
};

/// The seed of every random choice of a scenario.
const SEED: u64 = 0xCA76_A001;

async fn events_of_all_sizes_of_batches_reach_every_node_and_group(bench: &Bench) {
    for node in ["node1", "node2", "node3"] {
        bench.start(node, &[NOTE, AUDIT, SHARE]).await;
    }
    let (mut random, mut number) = (fastrand::Rng::with_seed(SEED), 0);
    while number < 300 {
        let (node, count) = (format!("node{}", random.u64(1..=3)), random.u64(1..80));
        let plan = Plan { before_ms: random.u64(0..3), after_ms: random.u64(0..3), ..Plan::default() };
        bench.publish_all(&node, number..number + count, &plan).await;
        number += count;
    }
    bench.settled().await;
}

conformance_tests! {
    events_of_all_sizes_of_batches_reach_every_node_and_group, [P1, P2, P4a, P5], |history| {
        let shared = |what: &What| matches!(what, What::Delivered { parcels, .. } if parcels.len() > 1);
        history.0.iter().any(|entry| shared(&entry.what))
    };
}
