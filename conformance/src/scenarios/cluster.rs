//! Nodes that come and go, and versions of a program that live side by side.

use catga::Limits;

use crate::{
    bench::Bench,
    history::{Fault, History, Pace, What},
    messages::NOTE,
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
    two_versions_of_a_message_type_read_each_other, [P16], notes;
}
