//! Nodes that shut down while there is work.

use std::time::Duration;

use catga::Limits;
use futures_util::future::{join, join3};
use tokio::sync::watch;

use crate::{
    bench::Bench,
    history::{History, What},
    messages::{NOTE, Plan, SHARE},
    suite::all_of,
};

async fn a_node_that_shuts_down_finishes_what_runs_and_gives_back_the_rest(bench: &Bench) {
    let limits = Limits { concurrency: 4, ..bench.limits() };
    for node in ["node1", "node2"] {
        bench.start_with(node, &[SHARE, NOTE], limits.clone()).await;
    }
    let plan = Plan { before_ms: 60, after_ms: 60, ..Plan::default() };
    bench.publish_all("node1", 0..70, &plan).await;
    // Each of these is a delivery of its own.
    for number in 70..100 {
        bench.publish("node2", number, plan.clone()).await.unwrap();
    }
    bench.pass(Duration::from_millis(200)).await;
    bench.shut_down("node1", false).await;
    bench.settled().await;
    bench.start_with("node1", &[SHARE, NOTE], limits).await;
    bench.settled().await;
}

async fn what_arrives_while_a_node_shuts_down_is_handled_elsewhere_or_later(bench: &Bench) {
    bench.start("node1", &[SHARE]).await;
    for round in 0..20 {
        bench.start("node2", &[SHARE, NOTE]).await;
        let (stored, mut seen) = watch::channel(0);
        let events = async {
            // Each is a delivery of its own.
            for number in 0..10 {
                bench.publish("node1", round * 10 + number, Plan::default()).await.unwrap();
                stored.send_replace(number);
            }
        };
        let leave = async {
            // After another number of steps each time, so that one of them is the wrong moment.
            seen.wait_for(|number| *number >= round % 3).await.unwrap();
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            bench.shut_down("node2", false).await;
        };
        tokio::join!(events, leave);
    }
    bench.start("node2", &[SHARE, NOTE]).await;
    bench.settled().await;
}

async fn members_of_a_group_that_stop_leave_their_work_to_those_who_stay(bench: &Bench) {
    let limits = Limits { concurrency: 4, ..bench.limits() };
    for node in ["node1", "node2", "node3"] {
        bench.start_with(node, &[SHARE], limits.clone()).await;
    }
    let plan = Plan { before_ms: 60, after_ms: 60, ..Plan::default() };
    bench.publish_all("node1", 0..200, &plan).await;
    for number in 200..230 {
        bench.publish("node3", number, plan.clone()).await.unwrap();
    }
    bench.pass(Duration::from_millis(200)).await;
    join(bench.shut_down("node1", false), bench.shut_down("node2", false)).await;
    bench.settled().await;
}

async fn nodes_that_stop_together_leave_nothing_undone_that_they_have_time_for(bench: &Bench) {
    let limits = Limits { concurrency: 4, ..bench.limits() };
    for node in ["node1", "node2", "node3"] {
        bench.start_with(node, &[SHARE, NOTE], limits.clone()).await;
    }
    bench.publish_all("node1", 0..100, &Plan { before_ms: 20, after_ms: 20, ..Plan::default() }).await;
    join3(bench.shut_down("node1", false), bench.shut_down("node2", false), bench.shut_down("node3", false)).await;
    // Where the store outlives its nodes, it is handled now.
    for node in ["node1", "node2", "node3"] {
        bench.start_with(node, &[SHARE, NOTE], limits.clone()).await;
    }
    bench.settled().await;
}

async fn restarts_in_the_middle_keep_the_order_of_a_handler_that_runs_once_at_a_time(bench: &Bench) {
    let limits = Limits { concurrency: 1, shutdown: Duration::from_secs(1), ..bench.limits() };
    bench.start("node1", &[]).await;
    bench.start_with("node2", &[NOTE], limits.clone()).await;
    // Few at a time, which are polled, and so published, in their order.
    for first in (0..400).step_by(25) {
        bench.publish_all("node1", first..first + 25, &Plan { before_ms: 10, ..Plan::default() }).await;
    }
    for _ in 0..3 {
        bench.pass(Duration::from_millis(100)).await;
        bench.shut_down("node2", false).await;
        bench.start_with("node2", &[NOTE], limits.clone()).await;
    }
    bench.settled().await;
}

/// A store that only appends brings what remains of a delivery that was begun behind the next one.
fn in_order(history: &History) -> bool {
    history.capabilities().survives_the_process || history.effects().map(|(.., run)| run.number).eq(0..400)
}

async fn restarts_between_runs_cost_none_and_add_none(bench: &Bench) {
    for node in ["node1", "node2"] {
        bench.start(node, &[SHARE]).await;
    }
    bench.publish_all("node1", 0..100, &Plan { fails: 2, before_ms: 20, ..Plan::default() }).await;
    bench.publish_all("node2", 100..110, &Plan { fails: 4, before_ms: 20, ..Plan::default() }).await;
    // The delays between the runs of a message are 100 ms and more.
    for node in ["node1", "node2"].into_iter().cycle().take(10) {
        bench.pass(Duration::from_millis(90)).await;
        bench.shut_down(node, false).await;
        bench.start(node, &[SHARE]).await;
    }
    bench.settled().await;
}

async fn a_handler_that_never_returns_does_not_keep_a_node_from_leaving(bench: &Bench) {
    let limits = Limits { concurrency: 4, shutdown: Duration::from_secs(2), ..bench.limits() };
    bench.start("node1", &[]).await;
    bench.start_with("node2", &[NOTE], limits).await;
    bench.publish_all("node1", 0..20, &Plan { hangs: true, ..Plan::default() }).await;
    bench.starts("node2", 4).await;
    bench.shut_down("node2", false).await;
}

fn in_time(history: &History) -> bool {
    history.0.iter().all(|entry| !matches!(entry.what, What::Shutdown { failed: Some(_), .. }))
}

all_of! {
    a_node_that_shuts_down_finishes_what_runs_and_gives_back_the_rest, [P9],
        |history| in_time(history) && history.effects().count() == 300;
    what_arrives_while_a_node_shuts_down_is_handled_elsewhere_or_later, [P1, P9],
        |history| in_time(history) && history.effects().count() == 400;
    members_of_a_group_that_stop_leave_their_work_to_those_who_stay, [P9],
        |history| in_time(history) && history.effects().count() == 230;
    nodes_that_stop_together_leave_nothing_undone_that_they_have_time_for, [],
        |history| in_time(history) && history.effects().count() == 400;
    restarts_in_the_middle_keep_the_order_of_a_handler_that_runs_once_at_a_time, [],
        |history| history.effects().count() == 400 && in_order(history);
    restarts_between_runs_cost_none_and_add_none, [],
        |history| in_time(history) && history.starts().count() == 340;
    a_handler_that_never_returns_does_not_keep_a_node_from_leaving, [P9], |history| !in_time(history);
}
