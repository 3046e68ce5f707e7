//! Machines whose clocks are wrong: nodes go by the time that passes.

use std::time::{Duration, Instant};

use crate::world::{World, becomes, server, turn};

/// The heartbeat of a worker, and what everything may take on a busy machine. It is far from the silence after which a node is
/// forgotten.
const SOON: Duration = Duration::from_secs(10);
const MINUTES: [i64; 3] = [0, 10, -10];

#[tokio::test(flavor = "multi_thread")]
async fn nodes_whose_clocks_differ_by_minutes_know_each_other_and_answer_in_time() {
    let (_turn, server) = (turn().await, server());
    let world = World::new(&server);
    let mut nodes = Vec::new();
    for (id, minutes) in ["node1", "node2", "node3"].into_iter().zip(MINUTES) {
        let words = format!("roles=all,group,serve clock_ahead_ms={}", minutes * 60_000);
        nodes.push(world.worker(id, &server.url(), &words).await);
    }
    let all = "sees asker,node1,node2,node3";
    let words = "rate=200 requests=1000 publish=0..500 batch=10 pace_ms=50 clock_ahead_ms=-300000";
    let _asker = world.worker("asker", &server.url(), words).await;
    for node in ["asker", "node1", "node2", "node3"] {
        world.reaches(node, all, 1).await;
    }
    world.reaches("asker", "sent", 1).await;
    world.nothing_is_lost("asker", &["node1", "node2", "node3"]).await;
    assert_eq!(
        world.journals.behind("asker", "answered").len(),
        1_000,
        "{:?}",
        world.journals.behind("asker", "failed")
    );
    for node in ["node1", "node2", "node3"] {
        world.repeats_at_most(&[node], "all", 0);
        let lines = || world.journals.lines(node);
        let sees_all = || lines().iter().rfind(|line| line.starts_with("sees")).is_some_and(|line| line == all);
        assert!(becomes(SOON, sees_all).await, "{node} lost sight of one: {:?}", lines());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_again_with_its_clock_set_back_by_an_hour_is_seen_within_a_heartbeat() {
    let (_turn, server) = (turn().await, server());
    let world = World::new(&server);
    let _witness = world.worker("node1", &server.url(), "roles=serve").await;
    let mut other = world.worker("node2", &server.url(), "roles=serve").await;
    world.reaches("node1", "sees node1,node2", 1).await;
    other.kill();
    world.restart_at(&mut other, -3_600_000).await;
    let began = Instant::now();
    let restarted = || world.journals.lines("node1").contains(&"restarted node2".to_owned());
    assert!(becomes(SOON, restarted).await, "not after {:?}", began.elapsed());
    world.reaches("node2", "sees node1,node2", 1).await;
}
