//! Connections that break, and a store that ends and starts again: only on transports that say that this can happen.

use std::time::Duration;

use catga::SendOptions;
use futures_util::future::join_all;

use crate::{
    bench::Bench,
    history::{Fault, History, Number, What},
    messages::{EXECUTE, NOTE, Plan, SHARE},
    suite::all_of,
};

async fn what_is_stored_survives_a_restart_of_the_store(bench: &Bench) {
    bench.start("node1", &[NOTE]).await;
    bench.start("node2", &[NOTE]).await;
    if bench.journal.history().capabilities().survives_the_process {
        bench.publish_all("node1", 0..50, &Plan { before_ms: 200, ..Plan::default() }).await;
        bench.pass(Duration::from_millis(100)).await;
        bench.fault("", Fault::Restart).await;
        bench.publish_all("node1", 50..60, &Plan::default()).await;
    }
    bench.settled().await;
}

async fn the_store_ends_while_events_are_on_their_way(bench: &Bench) {
    bench.start("node1", &[NOTE, SHARE]).await;
    bench.start("node2", &[NOTE, SHARE]).await;
    if bench.journal.history().capabilities().survives_the_process {
        let events = async {
            for first in (0..200).step_by(10) {
                bench.publish_all("node1", first..first + 10, &Plan { before_ms: 20, ..Plan::default() }).await;
                bench.pass(Duration::from_millis(20)).await;
            }
        };
        let fault = async {
            bench.effects(30).await;
            bench.fault("", Fault::Restart).await;
        };
        tokio::join!(events, fault);
    }
    bench.settled().await;
}

async fn connections_that_break_cost_nothing_that_was_stored(bench: &Bench) {
    bench.start("node1", &[NOTE, SHARE]).await;
    bench.start("node2", &[NOTE, SHARE]).await;
    if bench.journal.history().capabilities().can_be_disconnected {
        for round in 0..10 {
            let plan = Plan { before_ms: 20, after_ms: 20, fails: u32::from(round % 3 == 0), ..Plan::default() };
            let events = bench.publish_all("node1", round * 20..round * 20 + 20, &plan);
            let fault = async {
                bench.pass(Duration::from_millis(round * 7)).await;
                bench.fault(["node1", "node2"][round as usize % 2], Fault::Disconnect).await;
            };
            tokio::join!(events, fault);
        }
    }
    bench.settled().await;
}

async fn requests_are_answered_while_connections_break(bench: &Bench) {
    for node in ["node1", "node2"] {
        bench.start(node, &[EXECUTE]).await;
    }
    bench.start("asker1", &[]).await;
    bench.acquainted().await;
    if bench.journal.history().capabilities().can_be_disconnected {
        let slow = Plan { before_ms: 50, ..Plan::default() };
        for round in 0..9 {
            let options = || SendOptions { timeout: Some(Duration::from_secs(10)), ..SendOptions::default() };
            let calls = (0..10).map(|call| bench.order("asker1", round * 10 + call, slow.clone(), options()));
            let fault = async {
                bench.pass(Duration::from_millis(round * 7)).await;
                bench.fault(["node1", "node2", "asker1"][round as usize % 3], Fault::Disconnect).await;
            };
            tokio::join!(join_all(calls), fault);
        }
    }
    bench.pass(Duration::from_secs(1)).await;
}

async fn a_network_that_falls_silent_loses_nothing(bench: &Bench) {
    bench.start("node1", &[NOTE, SHARE]).await;
    bench.start("node2", &[NOTE, SHARE]).await;
    bench.start("node3", &[]).await;
    if bench.journal.history().capabilities().can_be_disconnected {
        let slow = Plan { before_ms: 300, after_ms: 300, ..Plan::default() };
        bench.publish_all("node3", 0..20, &slow).await;
        bench.pass(Duration::from_millis(150)).await;
        bench.fault("node2", Fault::Silence).await;
        bench.publish_all("node3", 20..40, &slow).await;
        let unheard = async {
            // Its publisher waits until it is heard.
            bench.publish_all("node2", 40..60, &Plan::default()).await;
        };
        let heal = async {
            bench.pass(bench.limits().ack_wait * 3).await;
            bench.fault("", Fault::Heal).await;
        };
        tokio::join!(unheard, heal);
    }
    bench.settled().await;
}

fn effects_of(history: &History, numbers: std::ops::Range<Number>) -> usize {
    history.effects().filter(|(.., run)| numbers.contains(&run.number)).count()
}

fn answered(history: &History) -> usize {
    history.0.iter().filter(|entry| matches!(entry.what, What::Answered { result: Ok(_), .. })).count()
}

all_of! {
    what_is_stored_survives_a_restart_of_the_store, [P1], |history| {
        !history.capabilities().survives_the_process || history.effects().count() >= 120
    };
    the_store_ends_while_events_are_on_their_way, [P1, P2, P3, P4a], |history| {
        !history.capabilities().survives_the_process || effects_of(history, 0..200) >= 600
    };
    connections_that_break_cost_nothing_that_was_stored, [P1, P2, P3, P4a], |history| {
        !history.capabilities().can_be_disconnected || effects_of(history, 0..200) >= 600
    };
    a_network_that_falls_silent_loses_nothing, [P1, P2, P4a], |history| {
        !history.capabilities().can_be_disconnected || effects_of(history, 0..60) >= 180
    };
    requests_are_answered_while_connections_break, [P11, P12], |history| {
        !history.capabilities().can_be_disconnected || answered(history) == 90
    };
}
