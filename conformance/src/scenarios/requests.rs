//! Requests: under load, to handlers that fail or are slow, over a network that doubles and loses.

use std::time::Duration;

use catga::{ErrorKind, Limits, Outcome, SendOptions};
use futures_util::future::join_all;

use crate::{
    bench::Bench,
    history::{Fault, History, Number, What},
    messages::{ANSWER, EXECUTE, Plan},
    suite::{all_of, seed},
};

fn within(millis: u64) -> SendOptions {
    SendOptions { timeout: Some(Duration::from_millis(millis)), ..SendOptions::default() }
}

async fn start(bench: &Bench) {
    for node in ["node1", "node2"] {
        bench.start(node, &[EXECUTE, ANSWER]).await;
    }
    for node in ["asker1", "asker2"] {
        bench.start(node, &[]).await;
    }
    bench.acquainted().await;
}

async fn every_request_has_one_answer_by_its_deadline(bench: &Bench) {
    start(bench).await;
    let mut random = fastrand::Rng::with_seed(seed());
    let mut calls = Vec::new();
    for number in 0..120 {
        let asker = ["asker1", "asker2", "node1"][random.usize(0..3)];
        let fails = u32::from(random.u8(0..5) == 0);
        let plan = Plan { before_ms: random.u64(0..900), fails, panics: random.bool(), ..Plan::default() };
        calls.push(async move {
            match number % 3 {
                0 => bench.question(asker, number, plan).await,
                1 => bench.order(asker, number, plan, SendOptions::default()).await,
                _ => bench.order(asker, number, plan, within(300)).await,
            }
        });
    }
    join_all(calls).await;
    bench.pass(Duration::from_secs(5)).await;
}

async fn requests_that_come_twice_and_replies_that_are_lost_do_no_harm(bench: &Bench) {
    start(bench).await;
    bench.fault("", Fault::DoubleRequests(20)).await;
    join_all((0..20).map(|number| bench.order("asker1", number, Plan::default(), within(5_000)))).await;
    bench.fault("", Fault::Heal).await;
    bench.fault("", Fault::LoseReplies(20)).await;
    join_all((20..40).map(|number| bench.order("asker2", number, Plan::default(), within(5_000)))).await;
    bench.fault("", Fault::DelayReplies(10, Duration::from_secs(2))).await;
    join_all((40..50).map(|number| bench.order("asker2", number, Plan::default(), within(1_000)))).await;
    bench.pass(Duration::from_secs(5)).await;
}

async fn a_command_moves_on_only_from_a_node_that_died(bench: &Bench) {
    start(bench).await;
    let slow = Plan { before_ms: 1_000, ..Plan::default() };
    let kill = async {
        // It has begun some: those have to move.
        bench.starts("node1", 10).await;
        bench.kill("node1");
    };
    tokio::join!(join_all((0..40).map(|number| bench.order("asker1", number, slow.clone(), within(5_000)))), kill);
    bench.pass(Duration::from_secs(1)).await;
}

async fn a_node_that_is_full_refuses_and_another_one_takes_over(bench: &Bench) {
    let full = Limits { concurrency: 2, queue: 2, ..bench.limits() };
    bench.start_with("node1", &[EXECUTE], full.clone()).await;
    bench.start_with("node2", &[EXECUTE], full).await;
    bench.start("asker1", &[]).await;
    bench.acquainted().await;
    let slow = Plan { before_ms: 150, ..Plan::default() };
    join_all((0..20).map(|number| bench.order("asker1", number, slow.clone(), within(2_000)))).await;
    bench.pass(Duration::from_secs(1)).await;
}

fn answers(history: &History) -> impl Iterator<Item = (Number, Result<Number, (ErrorKind, Outcome)>)> + '_ {
    history.0.iter().filter_map(|entry| match entry.what {
        What::Answered { number, result } => Some((number, result)),
        _ => None,
    })
}

fn late(history: &History) -> u64 {
    let late = history.0.iter().map(|entry| match entry.what {
        What::Counted { late_replies, .. } => late_replies,
        _ => 0,
    });
    late.sum()
}

fn all_kinds_of_answers(history: &History) -> bool {
    let is = |kind| answers(history).any(|(_, result)| result.is_err_and(|(found, _)| found == kind));
    late(history) > 0
        && is(ErrorKind::TimedOut)
        && is(ErrorKind::Handler)
        && answers(history).any(|(_, result)| result.is_ok())
}

fn moved(history: &History) -> bool {
    history.starts().count() > 40 && answers(history).all(|(_, result)| result.is_ok())
}

fn refused(history: &History) -> bool {
    let overloaded = (ErrorKind::Overloaded, Outcome::NotStarted);
    let ran_on = |node: &str| history.effects().filter(|(_, entry, _)| &*entry.node == node).count();
    answers(history).any(|(_, result)| result == Err(overloaded)) && ran_on("node1") > 0 && ran_on("node2") > 0
}

all_of! {
    every_request_has_one_answer_by_its_deadline, [P11, P12], all_kinds_of_answers;
    requests_that_come_twice_and_replies_that_are_lost_do_no_harm, [P4a, P11, P12],
        |history| answers(history).all(|(_, result)| result.is_ok()) && late(history) == 30;
    a_command_moves_on_only_from_a_node_that_died, [P11, P12], moved;
    a_node_that_is_full_refuses_and_another_one_takes_over, [P11, P12, P14], refused;
}
