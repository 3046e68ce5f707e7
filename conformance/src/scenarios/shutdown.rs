//! Nodes that shut down while there is work.

use std::time::Duration;

use catga::Limits;
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

async fn a_handler_that_never_returns_does_not_keep_a_node_from_leaving(bench: &Bench) {
    let limits = Limits { concurrency: 4, shutdown: Duration::from_secs(2), ..bench.limits() };
    bench.start("node1", &[]).await;
    bench.start_with("node2", &[NOTE], limits).await;
    bench.publish_all("node1", 0..20, &Plan { hangs: true, ..Plan::default() }).await;
    bench.starts(4).await;
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
    a_handler_that_never_returns_does_not_keep_a_node_from_leaving, [P9], |history| !in_time(history);
}
