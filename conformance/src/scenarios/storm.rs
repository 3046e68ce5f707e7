//! Load and faults in a random order: what no driver thought of.

use std::time::Duration;

use crate::{
    bench::Bench,
    history::{Fault, History, Number, What},
    messages::{AUDIT, HEAR, NOTE, Plan, Role, SHARE},
    suite::{all_of, seed},
};

const NODES: [&str; 3] = ["node1", "node2", "node3"];
const ROLES: &[Role] = &[NOTE, AUDIT, SHARE, HEAR];
/// How much happens.
const STEPS: u32 = 30;

async fn nothing_is_lost_in_a_storm(bench: &Bench) {
    let mut random = fastrand::Rng::with_seed(seed());
    let can = bench.journal.history().capabilities();
    let happens = if can.can_be_disconnected && can.survives_the_process { 15 } else { 13 };
    let mut away: Vec<&str> = Vec::new();
    let mut cut = false;
    let mut number: Number = 0;
    // Only publishes and waits.
    bench.start("node0", &[]).await;
    for node in NODES {
        bench.start(node, ROLES).await;
    }
    for _ in 0..STEPS {
        let node = NODES[random.usize(0..3)];
        let there = !away.contains(&node);
        match random.u8(0..happens) {
            0..=4 => {
                let count = random.u64(1..50);
                let plan = Plan {
                    fails: random.u32(0..8).saturating_sub(3),
                    before_ms: random.u64(0..100),
                    after_ms: random.u64(0..100),
                    emits: random.bool(),
                    ..Plan::default()
                };
                bench.publish_all("node0", number..number + count, &plan).await;
                number += count;
            }
            5 => bench.fault("", Fault::LoseAcknowledgements(random.usize(1..4))).await,
            6 => bench.fault("", Fault::LoseDeliveries(random.usize(1..4))).await,
            7 => bench.fault("", Fault::DoubleDeliveries(random.usize(1..4))).await,
            8 if there && !cut => {
                bench.kill(node);
                away.push(node);
            }
            9 if there && !cut => {
                bench.shut_down(node, false).await;
                away.push(node);
            }
            10 if there && !cut => {
                bench.fault(node, Fault::Cut).await;
                cut = true;
            }
            11 if cut => {
                bench.fault("", Fault::Heal).await;
                cut = false;
            }
            12 => bench.fault("", Fault::LoseConfirmations(random.usize(1..4))).await,
            13 if there => bench.fault(node, Fault::Disconnect).await,
            14 => bench.fault("", Fault::Restart).await,
            _ => {
                if let Some(node) = away.pop() {
                    bench.start(node, ROLES).await;
                }
            }
        }
        bench.pass(Duration::from_millis(random.u64(0..2_000))).await;
    }
    bench.fault("", Fault::Heal).await;
    for node in away {
        bench.start(node, ROLES).await;
    }
    bench.settled().await;
}

fn stormy(history: &History) -> bool {
    history.effects().count() > 0 && history.0.iter().any(|entry| matches!(entry.what, What::Fault(_)))
}

all_of! {
    // Not for broken transports: with so much going on, one breach follows from another.
    nothing_is_lost_in_a_storm, [], stormy;
}
