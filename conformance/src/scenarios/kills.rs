//! Nodes that are killed in the middle of their work, and come back.

use std::time::Duration;

use crate::{
    bench::Bench,
    history::History,
    messages::{NOTE, Plan, SHARE},
    suite::all_of,
};

async fn a_kill_between_effect_and_mark_adds_one_run(bench: &Bench) {
    bench.start("node1", &[]).await;
    bench.start("node2", &[NOTE]).await;
    bench.publish("node1", 1, Plan { after_ms: 1_000, ..Plan::default() }).await.unwrap();
    bench.effects(1).await;
    bench.kill("node2");
    bench.start("node2", &[NOTE]).await;
    bench.settled().await;
}

async fn what_a_killed_node_had_under_way_is_handled_when_it_is_back(bench: &Bench) {
    bench.start("node1", &[NOTE]).await;
    bench.start("node2", &[NOTE]).await;
    bench.publish_all("node1", 0..100, &Plan { before_ms: 500, after_ms: 500, ..Plan::default() }).await;
    bench.pass(Duration::from_millis(700)).await;
    bench.kill("node2");
    bench.publish_all("node1", 100..120, &Plan::default()).await;
    bench.pass(bench.limits().ack_wait * 2).await;
    bench.start("node2", &[NOTE]).await;
    bench.settled().await;
}

async fn the_work_of_a_killed_member_goes_to_the_others(bench: &Bench) {
    bench.start("node1", &[SHARE]).await;
    bench.start("node2", &[SHARE]).await;
    bench.publish_all("node1", 0..60, &Plan { before_ms: 300, after_ms: 300, ..Plan::default() }).await;
    bench.pass(Duration::from_millis(450)).await;
    bench.kill("node2");
    bench.settled().await;
}

fn effects_beyond_the_first(history: &History) -> usize {
    let mut seen = std::collections::BTreeSet::new();
    history.effects().filter(|(_, _, run)| !seen.insert((run.handler.clone(), run.number))).count()
}

all_of! {
    a_kill_between_effect_and_mark_adds_one_run, [P4b, P5], |history| effects_beyond_the_first(history) == 1;
    what_a_killed_node_had_under_way_is_handled_when_it_is_back, [P1, P3, P4b], |history| history.kills().count() == 1;
    the_work_of_a_killed_member_goes_to_the_others, [P1], |history| effects_beyond_the_first(history) > 0;
}
