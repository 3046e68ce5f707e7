//! Load without faults: whom events reach.

use std::time::Duration;

use catga::Limits;

use crate::{
    bench::Bench,
    history::{History, What},
    messages::{AUDIT, GOSSIP, NOTE, Plan, SHARE},
    suite::{all_of, seed},
};

async fn events_in_batches_of_all_sizes_reach_every_node_and_group(bench: &Bench) {
    for node in ["node1", "node2", "node3"] {
        bench.start(node, &[NOTE, AUDIT, SHARE]).await;
    }
    let (mut random, mut number) = (fastrand::Rng::with_seed(seed()), 0);
    while number < 300 {
        let (node, count) = (format!("node{}", random.u64(1..=3)), random.u64(1..80));
        let plan = Plan { before_ms: random.u64(0..3), after_ms: random.u64(0..3), ..Plan::default() };
        bench.publish_all(&node, number..number + count, &plan).await;
        number += count;
    }
    bench.settled().await;
}

async fn a_node_gets_what_is_published_between_its_coming_and_its_leaving(bench: &Bench) {
    bench.start("node1", &[NOTE]).await;
    bench.start("node2", &[NOTE]).await;
    bench.publish_all("node1", 0..10, &Plan::default()).await;
    bench.settled().await;
    bench.start("node3", &[NOTE]).await;
    bench.publish_all("node1", 10..20, &Plan::default()).await;
    bench.settled().await;
    bench.shut_down("node2", true).await;
    bench.publish_all("node1", 20..30, &Plan::default()).await;
    bench.settled().await;
}

async fn the_members_of_a_group_share_the_work(bench: &Bench) {
    for node in ["node1", "node2", "node3"] {
        bench.start(node, &[SHARE]).await;
    }
    for number in 0..90 {
        bench.publish("node1", number, Plan::default()).await.unwrap();
    }
    bench.settled().await;
}

async fn rumours_reach_every_node_once(bench: &Bench) {
    for node in ["node1", "node2", "node3"] {
        bench.start(node, &[GOSSIP]).await;
    }
    bench.acquainted().await;
    for number in 0..100 {
        bench.gossip("node2", number, Plan { before_ms: number % 3, ..Plan::default() }).await;
    }
    bench.pass(Duration::from_secs(1)).await;
}

async fn a_handler_that_never_returns_holds_a_bounded_number_of_messages(bench: &Bench) {
    let hour = Duration::from_secs(3600);
    let limits = Limits { in_flight: 50, concurrency: 4, handler_timeout: hour, ..bench.limits() };
    bench.start("node1", &[]).await;
    bench.start_with("node2", &[NOTE], limits).await;
    bench.publish_all("node1", 0..1_500, &Plan { hangs: true, ..Plan::default() }).await;
    bench.pass(Duration::from_secs(2)).await;
}

async fn a_handler_that_never_returns_has_what_it_cannot_take_dropped_and_counted(bench: &Bench) {
    let hour = Duration::from_secs(3600);
    let limits = Limits { concurrency: 4, queue: 16, handler_timeout: hour, ..bench.limits() };
    bench.start("node1", &[]).await;
    bench.start_with("node2", &[GOSSIP], limits).await;
    bench.acquainted().await;
    for number in 0..200 {
        bench.gossip("node1", number, Plan { hangs: true, ..Plan::default() }).await;
    }
    bench.pass(Duration::from_secs(1)).await;
    // The next one shows the gap behind those that found no room.
    bench.gossip("node1", 200, Plan { hangs: true, ..Plan::default() }).await;
    bench.pass(Duration::from_secs(1)).await;
}

fn effects_on(history: &History, node: &str) -> usize {
    history.effects().filter(|(_, entry, _)| &*entry.node == node).count()
}

fn shares_deliveries(history: &History) -> bool {
    !history.capabilities().messages_share_a_delivery
        || history.0.iter().any(|entry| matches!(&entry.what, What::Delivered { parcels, .. } if parcels.len() > 1))
}

fn drops_rumours(history: &History) -> bool {
    history.starts().count() > 0
        && history.0.iter().any(|entry| matches!(entry.what, What::Counted { dropped, .. } if dropped > 0))
}

all_of! {
    events_in_batches_of_all_sizes_reach_every_node_and_group, [P1, P2, P4a, P5], shares_deliveries;
    a_node_gets_what_is_published_between_its_coming_and_its_leaving, [P10],
        |history| ["node1", "node2", "node3"].map(|node| effects_on(history, node)) == [30, 20, 20];
    the_members_of_a_group_share_the_work, [P10],
        |history| ["node1", "node2", "node3"].iter().all(|node| effects_on(history, node) > 10);
    rumours_reach_every_node_once, [P10], |history| history.effects().count() == 300;
    a_handler_that_never_returns_holds_a_bounded_number_of_messages, [P14], |history| history.starts().count() == 4;
    a_handler_that_never_returns_has_what_it_cannot_take_dropped_and_counted, [P14], drops_rumours;
}
