//! Nodes whose clocks are wrong, and what their numbers make of that; many nodes that start together.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Cluster, ClusterChange,
    membership::{Membership, Pending},
    record::{Announcement, Record},
    snapshot::{NodeView, Table, Vitals},
};
use crate::transport::{InProcess, Inbox, Link, Registration, Transport};

/// A node that only keeps its table.
struct Node {
    cluster: Cluster,
    stop: CancellationToken,
    /// Fires when another node took its id.
    replaced: CancellationToken,
    task: JoinHandle<()>,
}

async fn join(broker: &InProcess, node: &str, incarnation: u64) -> (Arc<dyn Link>, Inbox) {
    let (app, node, durables) = ("catga".into(), node.into(), Vec::new());
    let (events, requests) = (Vec::new(), Vec::new());
    let registration = Registration { app, node, incarnation, events, requests, durables, queue: 1_024 };
    let joined = broker.join(registration).await.unwrap();
    (joined.link, joined.inbox)
}

fn record(node: &str, incarnation: u64) -> Record {
    let (node, requests) = (node.into(), Some(Vec::new()));
    Record { node, incarnation, endpoint: None, load: 0, started_ms: 0, requests_hash: 0, requests }
}

/// Starts a node whose clock shows this number.
async fn start(broker: &InProcess, node: &str, incarnation: u64) -> Node {
    let (link, inbox) = join(broker, node, incarnation).await;
    let (stop, replaced) = (CancellationToken::new(), CancellationToken::new());
    let vitals = Arc::new(Vitals::new());
    let (id, requests) = (node.into(), [].into());
    let view = NodeView { id, incarnation, started_ms: 0, endpoint: None, requests, online: true, own: true, vitals };
    let cluster = Cluster::new(Arc::new(Table::new(view)), CancellationToken::new());
    let gives_way = replaced.clone();
    let membership = Membership {
        own: record(node, incarnation),
        load: Arc::new(|| 0),
        replaced: Arc::new(move || gives_way.cancel()),
        cluster: cluster.clone(),
        link,
        inbox: inbox.cluster,
        heartbeat: Duration::from_secs(10),
        silence: Duration::from_secs(30),
        members: BTreeMap::new(),
        left: BTreeMap::new(),
        pending: Pending::default(),
        stop: stop.clone(),
    };
    let task = tokio::spawn(membership.run());
    moment().await;
    Node { cluster, stop, replaced, task }
}

impl Node {
    fn sees(&self, node: &str) -> Option<u64> {
        self.cluster.node(node).filter(|node| node.online).map(|node| node.incarnation)
    }
}

/// Less than a heartbeat.
async fn moment() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_again_with_its_clock_set_back_is_seen_at_once() {
    let broker = InProcess::new();
    let (first, former) = (start(&broker, "node1", 1_000).await, start(&broker, "node2", 2_000).await);
    let mut changes = first.cluster.changes();
    former.task.abort();
    let second = start(&broker, "node2", 500).await;
    assert_eq!(first.sees("node2"), Some(2_001), "behind that of its former self");
    assert_eq!(changes.next().await, Some(ClusterChange::Restarted("node2".into())));
    assert_eq!((second.sees("node2"), second.sees("node1")), (Some(2_001), Some(1_000)));
    // And it stays.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(first.sees("node2"), Some(2_001));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_left_and_comes_back_with_its_clock_set_back_is_seen_at_once() {
    let broker = InProcess::new();
    let (first, former) = (start(&broker, "node1", 1_000).await, start(&broker, "node2", 2_000).await);
    former.stop.cancel();
    moment().await;
    assert_eq!(first.sees("node2"), None);
    let _second = start(&broker, "node2", 500).await;
    assert_eq!(first.sees("node2"), Some(2_001));
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_clock_was_set_back_while_nobody_heard_it_is_seen_when_its_former_self_has_fallen_silent() {
    let broker = InProcess::new();
    let (first, former) = (start(&broker, "node1", 1_000).await, start(&broker, "node2", 2_000).await);
    former.task.abort();
    let (second, _inbox) = join(&broker, "node2", 500).await;
    let here = Announcement::Here(record("node2", 500)).encode();
    second.announce(here.clone()).await.unwrap();
    moment().await;
    assert_eq!(first.sees("node2"), Some(2_000), "it may be a late word");
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(first.sees("node2"), None);
    second.announce(here).await.unwrap();
    moment().await;
    assert_eq!(first.sees("node2"), Some(500));
}

#[tokio::test(start_paused = true)]
async fn of_two_live_nodes_under_one_id_the_later_one_goes_on_though_its_clock_is_behind() {
    let broker = InProcess::new();
    let first = start(&broker, "node1", 2_000).await;
    // A transport may bring the words of both.
    let (second, mut inbox) = join(&broker, "other", 1).await;
    let behind = Announcement::Behind { node: "node1".into(), incarnation: 2_000 };
    second.announce(Announcement::Joining(record("node1", 500)).encode()).await.unwrap();
    assert_eq!(Announcement::decode(&inbox.cluster.recv().await.unwrap()), Some(behind));
    assert!(!first.replaced.is_cancelled());
    second.announce(Announcement::Joining(record("node1", 2_001)).encode()).await.unwrap();
    first.replaced.cancelled().await;
}

#[tokio::test(start_paused = true)]
async fn a_number_that_nothing_comes_behind_begins_no_endless_talk() {
    let broker = InProcess::new();
    let first = start(&broker, "node1", 1_000).await;
    let (other, mut inbox) = join(&broker, "other", 1).await;
    other.announce(Announcement::Behind { node: "node1".into(), incarnation: u64::MAX }.encode()).await.unwrap();
    moment().await;
    assert!(inbox.cluster.try_recv().is_err());
    assert_eq!(first.sees("node1"), Some(1_000));
}

/// How often a node said that it is there, as another one heard it since.
fn answers(inbox: &mut Inbox, node: &str) -> usize {
    let words = std::iter::from_fn(|| inbox.cluster.try_recv().ok()).filter_map(|word| Announcement::decode(&word));
    words.filter(|word| matches!(word, Announcement::Here(record) if &*record.node == node)).count()
}

#[tokio::test(start_paused = true)]
async fn one_answer_serves_all_who_join_together_and_who_joins_alone_gets_it_at_once() {
    let broker = InProcess::new();
    let first = start(&broker, "node1", 1).await;
    let (others, mut inbox) = join(&broker, "others", 1).await;
    let joining = |number: usize| Announcement::Joining(record(&format!("other{number}"), 1)).encode();
    let now = Instant::now();
    others.announce(joining(0)).await.unwrap();
    let word = Announcement::decode(&inbox.cluster.recv().await.unwrap());
    assert!(matches!(word, Some(Announcement::Here(record)) if &*record.node == "node1"));
    assert_eq!(now.elapsed(), Duration::ZERO);

    for number in 1..100 {
        others.announce(joining(number)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(answers(&mut inbox, "node1"), 1);
    assert_eq!(first.cluster.nodes().len(), 101);

    // One after the other: each hears of this node a tenth of a second later at the latest.
    for number in 100..580 {
        others.announce(joining(number)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let heard = answers(&mut inbox, "node1");
    assert!((4..=6).contains(&heard), "{heard} answers in half a second");
    tokio::time::sleep(Duration::from_millis(105)).await;
    assert_eq!(answers(&mut inbox, "node1"), 1);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_start_together_know_each_other_after_a_few_words_of_each() {
    const NODES: usize = 50;
    let broker = InProcess::new();
    let (_link, mut inbox) = join(&broker, "observer", 1).await;
    let names: Vec<_> = (0..NODES).map(|number| format!("node{number}")).collect();
    let nodes = join_all(names.iter().map(|node| start(&broker, node, 1))).await;
    for node in &nodes {
        assert_eq!(node.cluster.nodes().len(), NODES);
    }
    let words = std::iter::from_fn(|| inbox.cluster.try_recv().ok()).count();
    assert!(words <= 4 * NODES, "{words} announcements of {NODES} nodes");
}
