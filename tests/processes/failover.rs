//! Requests under load, while one of the nodes that handle them dies or stands still.

use std::collections::BTreeMap;

use crate::{
    journals::repeats,
    world::{Worker, World, alone, server, until},
};

const NODES: [&str; 3] = ["node1", "node2", "node3"];
/// In a second; a machine that cannot do it takes longer.
const RATE: usize = 2_000;
const REQUESTS: usize = 8_000;
/// Long after every node takes part, long before the last request.
const FAULT_AT: usize = 2_000;
/// Soon enough to take part again.
const REPAIR_AT: usize = 6_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_costs_no_caller_its_answer() {
    load(Worker::kill, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stands_still_costs_no_caller_its_answer() {
    load(|_| {}, Worker::go_on).await;
}

async fn load(fault: impl FnOnce(&mut Worker), repair: impl FnOnce(&mut Worker)) {
    let _turn = alone().await;
    let server = server();
    let world = World::new(&server);
    let url = server.url();
    // Each request takes a while, so that many are under way when it happens.
    let words = "roles=serve sleep_ms=20";
    let mut first = world.worker("node1", &url, words).await;
    let _others = [world.worker("node2", &url, words).await, world.worker("node3", &url, words).await];
    let _caller = world.worker("caller", &url, &format!("rate={RATE} requests={REQUESTS}")).await;
    world.reaches("caller", "answered", FAULT_AT).await;
    // Stopped first, so that what is under way can be counted, and is not nothing.
    let mut cut_off = 0;
    let is_at_work = || {
        first.stop();
        cut_off = under_way(&world);
        if cut_off == 0 {
            first.go_on();
        }
        cut_off > 0
    };
    until("something is under way where the fault is to be", is_at_work).await;
    fault(&mut first);
    world.reaches("caller", "answered", REPAIR_AT).await;
    repair(&mut first);
    world.reaches("caller", "sent", 1).await;

    let runs: Vec<_> = NODES.iter().map(|node| world.journals.numbers(&[node], "ended request")).collect();
    let began = world.journals.numbers(&NODES, "began request");
    let folder = world.journals.0.display();
    for answer in world.journals.behind("caller", "answered") {
        let words: Vec<_> = answer.split(' ').collect();
        let [number, _, answered, node] = words[..] else { panic!("`{answer}`; see {folder}") };
        assert_eq!(number, answered, "it has the answer of another request; see {folder}");
        let number: u32 = number.parse().unwrap();
        let place = NODES.iter().position(|name| *name == node).unwrap();
        assert!(runs[place].contains_key(&number), "`{answer}`, but {node} did not run it; see {folder}");
    }
    let mut failures = BTreeMap::<String, usize>::new();
    for failure in world.journals.behind("caller", "failed") {
        let words: Vec<_> = failure.split(' ').collect();
        let (number, kind, outcome) = (words[0].parse::<u32>().unwrap(), words[1], words[2]);
        assert_eq!(kind, "keyed", "a request without a key failed: `{failure}`; see {folder}");
        assert_ne!(outcome, "Failed", "no handler fails: `{failure}`; see {folder}");
        let ran = began.contains_key(&number);
        assert!(outcome == "Unknown" || !ran, "it ran, and was said not to: `{failure}`; see {folder}");
        *failures.entry(words[1..4].join(" ")).or_default() += 1;
    }
    // A command that runs twice ran once where the fault was: the others are there to tell that they have it. A query is not
    // remembered, and one whose answer is late is asked again.
    let mut others = world.journals.numbers(&NODES[1..], "began request");
    others.retain(|number, _| number % 2 == 0);
    assert_eq!(repeats(&others), 0, "nodes that live on run no command twice; see {folder}");
    let answered = world.journals.behind("caller", "answered").len();
    let twice = repeats(&began);
    let took = world.journals.behind("caller", "sent").remove(0);
    eprintln!("{took}: {cut_off} cut off, {answered} answered, {failures:?} failed, {twice} ran twice");
    assert_eq!(answered + failures.values().sum::<usize>(), REQUESTS);
}

/// What the first node has begun and not ended.
fn under_way(world: &World) -> usize {
    let count = |words| world.journals.behind(NODES[0], words).len();
    count("began request") - count("ended request")
}
