//! Nodes that come and go, and versions of a program that live side by side.

use std::time::Duration;

use catga::{Limits, SendOptions};
use futures_util::future::join_all;

use crate::{
    bench::Bench,
    history::{Fault, History, Pace, What},
    messages::{ANSWER, EXECUTE, NOTE, Plan},
    suite::all_of,
    versions::{READ_NEW, READ_OLD, READS_NOTES},
};

async fn every_node_learns_who_comes_and_who_goes(bench: &Bench) {
    let Pace { late, reconnects } = bench.subject.pace();
    let Limits { heartbeat, silence, .. } = bench.limits();
    let (heard, missed) = (heartbeat * 3 / 2 + late, silence * 3 / 2 + late);
    for node in ["node1", "node2", "node3"] {
        bench.start(node, &[NOTE]).await;
    }
    bench.watch(heard).await;
    bench.start("node4", &[NOTE]).await;
    bench.watch(heard).await;
    bench.shut_down("node2", false).await;
    bench.watch(heard).await;
    bench.kill("node3");
    bench.watch(missed).await;
    bench.start("node3", &[NOTE]).await;
    bench.watch(heard).await;
    bench.fault("node4", Fault::Cut).await;
    bench.watch(missed).await;
    bench.fault("", Fault::Heal).await;
    bench.watch(heard + heartbeat + reconnects).await;
}

async fn clocks_that_are_minutes_apart_change_nothing(bench: &Bench) {
    let heard = bench.limits().heartbeat * 3 / 2 + bench.subject.pace().late;
    let nodes = [("node1", 0), ("node2", 10), ("node3", -10)];
    for (node, minutes) in nodes {
        bench.set_clock(node, minutes);
        bench.start(node, &[NOTE, EXECUTE, ANSWER]).await;
    }
    bench.set_clock("asker1", 5);
    bench.start("asker1", &[]).await;
    bench.watch(heard).await;
    for (first, (node, _)) in (0..).step_by(10).zip(nodes) {
        bench.publish_all(node, first..first + 10, &Plan { fails: 2, ..Plan::default() }).await;
    }
    bench.publish_all("asker1", 30..40, &Plan { fails: 9, ..Plan::default() }).await;
    let quick = || Plan { before_ms: 50, ..Plan::default() };
    join_all((100..130).map(|number| bench.order("asker1", number, quick(), SendOptions::default()))).await;
    join_all((130..160).map(|number| bench.question("asker1", number, quick()))).await;
    // Too slow for who asks.
    let slow = || Plan { before_ms: 2_000, ..Plan::default() };
    let options = || SendOptions { timeout: Some(Duration::from_millis(500)), ..SendOptions::default() };
    join_all((160..166).map(|number| bench.order("asker1", number, slow(), options()))).await;
    bench.pass(Duration::from_secs(3)).await;
    bench.settled().await;
    bench.watch(heard).await;
}

async fn a_clock_that_is_set_back_hides_no_node(bench: &Bench) {
    let Limits { heartbeat, silence, .. } = bench.limits();
    let late = bench.subject.pace().late;
    bench.start("node1", &[NOTE]).await;
    bench.set_clock("node2", 60);
    bench.start("node2", &[NOTE]).await;
    bench.watch(heartbeat * 3 / 2 + late).await;
    bench.kill("node2");
    bench.set_clock("node2", 0);
    bench.start("node2", &[NOTE]).await;
    // What is left of its former self is silent by then.
    bench.watch(silence * 3 / 2 + late).await;
}

async fn two_versions_of_a_message_type_read_each_other(bench: &Bench) {
    bench.start("old", &[READ_OLD]).await;
    bench.start("new", &[READ_NEW]).await;
    for number in 0..10 {
        bench.send_old("old", number).await;
        bench.send_new("new", 10 + number).await;
    }
    bench.settled().await;
}

fn views(history: &History) -> usize {
    let full = |what: &What| matches!(what, What::View { online } if online.len() == 3);
    history.0.iter().filter(|entry| full(&entry.what)).count()
}

fn notes(history: &History) -> bool {
    let read = |noted: bool| {
        history.effects().filter(move |(.., run)| run.handler == READS_NOTES && run.note.is_some() == noted).count()
    };
    (read(true), read(false), history.effects().count()) == (10, 10, 40)
}

all_of! {
    every_node_learns_who_comes_and_who_goes, [P13], |history| views(history) > 20;
    clocks_that_are_minutes_apart_change_nothing, [P8, P11, P13], |history| {
        let answered = |result: bool| {
            let fits = |what: &What| matches!(what, What::Answered { result: got, .. } if got.is_ok() == result);
            history.0.iter().filter(|entry| fits(&entry.what)).count()
        };
        (answered(true), answered(false), history.letters().count()) == (60, 6, 30)
    };
    a_clock_that_is_set_back_hides_no_node, [P13], |history| history.kills().count() == 1;
    two_versions_of_a_message_type_read_each_other, [P16], notes;
}
