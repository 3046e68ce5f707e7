//! Handlers that fail: for a while, for good, by a panic, by being slow, by a message that they cannot read.

use std::time::Duration;

use catga::{Limits, transport::DeadContent};

use crate::{
    bench::Bench,
    history::{Fault, History, What},
    messages::{AUDIT, HEAR, NOTE, Plan, SHARE},
    suite::{all_of, seed},
};

async fn handlers_that_fail_run_exactly_as_often_as_they_may(bench: &Bench) {
    bench.start("node1", &[NOTE, AUDIT]).await;
    bench.start("node2", &[NOTE]).await;
    let mut random = fastrand::Rng::with_seed(seed());
    for number in 0..40 {
        let (panics, permanent) = (random.u8(0..4) == 0, random.u8(0..6) == 0);
        let plan = Plan { fails: random.u32(0..=5), panics, permanent: permanent && !panics, ..Plan::default() };
        bench.publish("node1", number, plan).await.unwrap();
    }
    // Several share a delivery, and each fails on its own.
    bench.publish_all("node2", 40..60, &Plan { fails: 2, ..Plan::default() }).await;
    bench.publish_all("node2", 60..80, &Plan { fails: 4, ..Plan::default() }).await;
    bench.settled().await;
}

async fn a_group_counts_the_runs_of_all_its_members(bench: &Bench) {
    for node in ["node1", "node2", "node3"] {
        bench.start(node, &[SHARE]).await;
    }
    for number in 0..30 {
        bench.publish("node1", number, Plan { fails: number as u32 % 6, ..Plan::default() }).await.unwrap();
    }
    bench.settled().await;
}

async fn a_message_that_failed_and_whose_delivery_is_made_again_takes_effect_once(bench: &Bench) {
    let limits = Limits { ack_wait: Duration::from_millis(500), ..bench.limits() };
    bench.start_with("node1", &[AUDIT], limits).await;
    bench.fault("", Fault::LoseAcknowledgements(1)).await;
    bench.publish("node1", 1, Plan { fails: 1, ..Plan::default() }).await.unwrap();
    bench.pass(Duration::from_millis(300)).await;
    bench.mend();
    bench.settled().await;
}

async fn dead_letters_are_complete_and_their_replay_takes_effect_once(bench: &Bench) {
    bench.start("node1", &[NOTE, AUDIT]).await;
    bench.start("node2", &[SHARE]).await;
    bench.publish_all("node2", 0..5, &Plan { fails: 9, ..Plan::default() }).await;
    bench.publish("node1", 5, Plan { fails: 9, permanent: true, ..Plan::default() }).await.unwrap();
    bench.settled().await;
    let letters = bench.letters("node2").await;
    // One is replayed too early, and fails again.
    if let Some(first) = letters.first() {
        bench.replay("node1", first.id).await;
        bench.settled().await;
    }
    bench.mend();
    for letter in bench.letters("node1").await {
        bench.replay("node2", letter.id).await;
    }
    bench.settled().await;
    bench.letters("node2").await;
}

async fn a_conversation_goes_on_through_retry_dead_letter_and_replay(bench: &Bench) {
    bench.start("node1", &[NOTE, HEAR]).await;
    bench.start("node2", &[HEAR]).await;
    for fails in [0, 1, 3, 9] {
        bench.publish("node2", u64::from(fails), Plan { fails, emits: true, ..Plan::default() }).await.unwrap();
    }
    bench.settled().await;
    bench.mend();
    for letter in bench.letters("node1").await {
        bench.replay("node1", letter.id).await;
    }
    bench.settled().await;
}

async fn one_bad_message_harms_only_itself(bench: &Bench) {
    bench.start("node1", &[NOTE, AUDIT]).await;
    bench.start("node2", &[NOTE]).await;
    let bad = [
        Plan { fails: 9, ..Plan::default() },
        Plan { fails: 9, panics: true, ..Plan::default() },
        Plan { before_ms: 5_000, ..Plan::default() },
    ];
    let load =
        (0..30).map(|number| bench.publish("node1", number, bad.get(number as usize % 6).cloned().unwrap_or_default()));
    let poison = async {
        for number in 30..34 {
            bench.publish_poison("node1", number).await;
        }
    };
    tokio::join!(futures_util::future::join_all(load), poison);
    bench.settled().await;
    for letter in bench.letters("node1").await {
        assert!(matches!(letter.content, DeadContent::Message(_)), "{letter:?}");
    }
}

fn letters(history: &History) -> usize {
    history.letters().count()
}

fn poison(history: &History) -> bool {
    let is_poison = |number| (30..34).contains(&number);
    let unread =
        history.letters().filter_map(|(.., letter)| letter.message.as_ref()?.number).filter(|one| is_poison(*one));
    // By each of three handlers.
    unread.count() == 12 && history.effects().count() > 0
}

fn heard(history: &History) -> usize {
    history.effects().filter(|(.., run)| run.emitted_by.is_some()).count()
}

fn replays(history: &History) -> usize {
    history.0.iter().filter(|entry| matches!(entry.what, What::Replayed { .. })).count()
}

all_of! {
    handlers_that_fail_run_exactly_as_often_as_they_may, [P6, P8], |history| letters(history) > 50;
    // A transport that doubles in groups adds runs to each of two members: the group's own scenario says so.
    a_group_counts_the_runs_of_all_its_members, [], |history| letters(history) == 10;
    a_message_that_failed_and_whose_delivery_is_made_again_takes_effect_once, [P4a],
        |history| history.effects().count() == 1;
    dead_letters_are_complete_and_their_replay_takes_effect_once, [P7, P17],
        |history| letters(history) == 19 && replays(history) == 19;
    // Each of four runs that succeeded was heard on two nodes.
    a_conversation_goes_on_through_retry_dead_letter_and_replay, [P17, P18],
        |history| letters(history) == 1 && heard(history) == 8;
    one_bad_message_harms_only_itself, [P15], poison;
}
