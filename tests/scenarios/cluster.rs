//! Membership: who is there, who has gone, who has come back.

use std::time::Duration;

use catga::{
    ClusterChange, Error, ErrorKind, Event, Mediator, Outcome, Query, State, handler,
    testing::{Fault, Harness, Traffic},
};
use catga_tests::Log;
use serde::{Deserialize, Serialize};

#[derive(Query, Clone, Serialize, Deserialize)]
#[response(())]
struct Hello {}

#[handler]
async fn answer_hello(_: Hello) {}

async fn node(harness: &Harness, id: &str) -> Mediator {
    let node = harness.node(id).discover(false).handler(answer_hello).endpoint(format!("http://{id}"));
    node.build().await.unwrap()
}

fn online(mediator: &Mediator) -> Vec<String> {
    mediator.cluster().nodes().into_iter().filter(|node| node.online).map(|node| node.id).collect()
}

async fn next(changes: &mut catga::ClusterChanges) -> Option<ClusterChange> {
    tokio::time::timeout(Duration::from_secs(120), changes.next()).await.expect("a change of the cluster")
}

async fn moment() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

#[tokio::test(start_paused = true)]
async fn nodes_know_each_other_whatever_the_order_of_their_start() {
    let harness = Harness::new();
    let mut nodes = Vec::new();
    for id in ["node3", "node1", "node2"] {
        nodes.push(node(&harness, id).await);
    }
    moment().await;
    for node in &nodes {
        assert_eq!(online(node), ["node1", "node2", "node3"]);
        assert_eq!(node.cluster().node("node2").unwrap().endpoint.as_deref(), Some("http://node2"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_is_gone_at_once_and_one_that_is_killed_after_its_silence() {
    let harness = Harness::new();
    let (first, second, third) =
        (node(&harness, "node1").await, node(&harness, "node2").await, node(&harness, "node3").await);
    moment().await;
    let mut changes = first.cluster().changes();
    second.shutdown().await.unwrap();
    moment().await;
    assert_eq!(online(&first), ["node1", "node3"]);
    assert_eq!(next(&mut changes).await, Some(ClusterChange::Left("node2".into())));
    third.kill();
    tokio::time::sleep(Duration::from_secs(19)).await;
    assert_eq!(online(&first), ["node1", "node3"]);
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(online(&first), ["node1"]);
    assert_eq!(next(&mut changes).await, Some(ClusterChange::Silent("node3".into())));
    assert!(!first.cluster().node("node3").unwrap().online);
}

#[tokio::test(start_paused = true)]
async fn a_late_word_of_a_node_that_left_does_not_bring_it_back_but_a_new_start_does() {
    let harness = Harness::new();
    let (first, second) = (node(&harness, "node1").await, node(&harness, "node2").await);
    moment().await;
    harness.inject(Fault::delay(Traffic::Announcement, Duration::from_secs(1)).from("node2").times(1)).await;
    tokio::time::sleep(Duration::from_millis(10_100)).await;
    second.shutdown().await.unwrap();
    assert_eq!(online(&first), ["node1"]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(online(&first), ["node1"]);
    let _second = node(&harness, "node2").await;
    moment().await;
    assert_eq!(online(&first), ["node1", "node2"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_again_replaces_its_former_self() {
    let harness = Harness::new();
    let first = node(&harness, "node1").await;
    let second = node(&harness, "node2").await;
    moment().await;
    let mut changes = first.cluster().changes();
    let before = first.cluster().node("node2").unwrap().incarnation;
    second.kill();
    let _second = node(&harness, "node2").await;
    assert_eq!(next(&mut changes).await, Some(ClusterChange::Restarted("node2".into())));
    assert!(first.cluster().node("node2").unwrap().incarnation > before);
    first.send_with(Hello {}, catga::SendOptions { node: Some("node2".into()), ..Default::default() }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_cut_off_returns() {
    let harness = Harness::new();
    let first = node(&harness, "node1").await;
    let _second = node(&harness, "node2").await;
    moment().await;
    let mut changes = first.cluster().changes();
    harness.inject(Fault::cut("node2")).await;
    assert_eq!(next(&mut changes).await, Some(ClusterChange::Silent("node2".into())));
    harness.heal().await;
    assert_eq!(next(&mut changes).await, Some(ClusterChange::Returned("node2".into())));
    assert_eq!(online(&first), ["node1", "node2"]);
}

#[tokio::test(start_paused = true)]
async fn applications_on_one_broker_do_not_meet() {
    let harness = Harness::new();
    let first = node(&harness, "node1").await;
    let other = harness.node("node2").app("other").discover(false).build().await.unwrap();
    moment().await;
    assert_eq!(online(&first), ["node1"]);
    assert_eq!(online(&other), ["node2"]);
    assert_eq!(other.send(Hello {}).await.unwrap_err().kind(), catga::ErrorKind::NoHandler);
}

#[derive(Query, Clone, Serialize, Deserialize)]
#[response(())]
struct Slow {}

#[handler]
async fn answer_slowly(_: Slow) {
    tokio::time::sleep(Duration::from_secs(4)).await;
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Step {
    number: u32,
}

#[handler(concurrency = 1)]
async fn step(event: Step, State(log): State<Log>) {
    tokio::time::sleep(Duration::from_secs(1)).await;
    log.add(event.number.to_string());
}

/// That another node took the id of the one that says so.
fn replaced(result: Result<(), Error>) -> Option<Outcome> {
    result.err().filter(|error| error.kind() == ErrorKind::Replaced).map(|error| error.outcome())
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_id_another_one_takes_says_so_and_ends() {
    let harness = Harness::new();
    let other = harness.node("other").discover(false).handler(answer_slowly).build().await.unwrap();
    let first = node(&harness, "node1").await;
    moment().await;
    let (mut changes, mut seen) = (first.cluster().changes(), other.cluster().changes());
    let waiting = tokio::spawn(first.send(Slow {}));
    let running = tokio::spawn({
        let first = first.clone();
        async move { first.run_until(std::future::pending()).await }
    });
    moment().await;
    let second = node(&harness, "node1").await;
    let limit = Duration::from_secs(1);
    let ended = tokio::time::timeout(limit, running).await.expect("it ends by itself").unwrap();
    assert_eq!(replaced(ended), Some(Outcome::NotStarted));
    assert_eq!(replaced(waiting.await.unwrap()), Some(Outcome::Unknown));
    assert_eq!(replaced(first.send(Hello {}).await), Some(Outcome::NotStarted));
    assert_eq!(replaced(first.publish(Step { number: 0 }).await), Some(Outcome::NotStarted));
    assert_eq!(replaced(first.shutdown().await), Some(Outcome::NotStarted));
    while changes.next().await.is_some() {}
    second.send(Hello {}).await.unwrap();
    assert_eq!(next(&mut seen).await, Some(ClusterChange::Restarted("node1".into())));
    assert_eq!(online(&other), ["node1", "other"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_id_another_one_takes_leaves_it_what_it_has_not_handled() {
    let (harness, former, present) = (Harness::new(), Log::default(), Log::default());
    let start = |log: &Log| harness.node("node1").discover(false).state(log.clone()).handler(step).build();
    let first = start(&former).await.unwrap();
    first.publish_all((0..20).map(|number| Step { number })).await.unwrap();
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    let _second = start(&present).await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(former.lines(), ["0", "1", "2", "3"], "what ran came to its end");
    for number in 4..20 {
        assert_eq!(present.count(&number.to_string()), 1, "step {number}: {:?}", present.lines());
    }
}

#[test]
fn a_node_whose_broker_has_ended_says_so_and_not_that_it_was_replaced() {
    let broker = catga::transport::InProcess::new();
    let [one, two] = [(); 2].map(|()| tokio::runtime::Runtime::new().unwrap());
    // The broker runs where the first node joined.
    let node = |id| catga::Mediator::builder().discover(false).node(id).transport(broker.clone());
    let _first = one.block_on(node("node1").build()).unwrap();
    let second = two.block_on(node("node2").build()).unwrap();
    drop(one);
    let ended = async {
        let ended = second.run_until(std::future::pending());
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("it ends")
    };
    let error = two.block_on(ended).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
}
