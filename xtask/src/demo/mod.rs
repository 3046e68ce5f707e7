//! Plays scenarios on three nodes, and shows the outcome of each as a check that can fail.

mod checks;
mod load;

pub(crate) mod nats;

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use xtask::{http, shell::Result};

use self::checks::Checks;
use crate::{
    lines::{Lines, NODES, PATIENCE, QOS},
    orders::{answers_for, online, order, place},
    service::Service,
};

/// How many orders are placed while a node is away.
const ORDERS: usize = 10;
/// How many orders are placed at the same time.
const PARALLEL: usize = 60;
/// What a caller may lose to a node that was killed.
const FAILOVER: Duration = Duration::from_secs(2);

/// Three nodes of the order service, however they run.
pub(crate) trait Nodes {
    /// What they write.
    fn lines(&mut self) -> &mut Lines;
    /// The port of a node, by its place in [`NODES`].
    fn port(&self, node: usize) -> u16;
    /// Ends a node as `kill -9` does.
    fn kill(&mut self, node: usize) -> Result;
    /// Starts a node again, and waits until it serves.
    fn start_again(&mut self, node: usize) -> Result;
}

/// Three nodes in one process.
pub(crate) fn run() -> Result {
    let mut service = Service::start()?;
    let mut checks = Checks::default();
    println!("\nFailover");
    let missed = failover(&mut service, &mut checks)?;
    println!("\nQoS 0 against QoS 1");
    restart(&mut service, &mut checks, &missed)?;
    println!("\nParallel broadcast");
    let orders = broadcast(&mut service, &mut checks)?;
    println!("\nThe end");
    let code = service.quit()?;
    checks.check(code == Some(0), "the service ends by `quit` with code 0");
    service.lines().take();
    let once = [0, 1].iter().all(|event| service.lines().once_everywhere(*event, &orders));
    checks.check(once, "nothing came twice by then");
    checks.result()
}

/// A node is killed while orders come in; gives the orders that it missed.
fn failover(nodes: &mut impl Nodes, checks: &mut Checks) -> Result<Vec<String>> {
    let orders = place(nodes.port(0), ORDERS)?;
    let by: BTreeSet<_> = orders.iter().map(|order| order.processed_by.as_str()).collect();
    checks.check(by == BTreeSet::from(NODES), format!("node1 gives {ORDERS} orders to all nodes in turn: {by:?}"));
    // What the node handled before it is killed is nothing that it misses.
    let ids: Vec<_> = orders.iter().map(|order| order.id.clone()).collect();
    let handled = nodes.lines().until(|lines| lines.known("node2", 1, &ids) == ORDERS);
    checks.check(handled, "all of them are on node2");

    nodes.kill(1)?;
    let refused = http::get(nodes.port(1), "/health").is_err();
    checks.check(refused, "node2 is killed: it answers nothing");
    let orders = place(nodes.port(0), ORDERS)?;
    let slowest = orders.iter().map(|order| order.took).max().unwrap_or_default();
    let elsewhere = orders.iter().all(|order| order.processed_by != "node2");
    checks.check(elsewhere, format!("{ORDERS} of {ORDERS} orders are answered by the others"));
    checks.check(slowest < FAILOVER, format!("none of them took longer than {FAILOVER:?}: the slowest {slowest:.1?}"));
    let (two, after) = until_online(nodes.port(0), 2);
    checks.check(two, format!("/health on node1 counts 2 nodes online, after {after:.1?}"));
    Ok(orders.into_iter().map(|order| order.id).collect())
}

/// The node comes back: it gets the reliable events that it missed, and those of QoS 0 are lost.
fn restart(nodes: &mut impl Nodes, checks: &mut Checks, missed: &[String]) -> Result {
    for node in ["node1", "node3"] {
        let once = |lines: &Lines, event| missed.iter().all(|id| lines.handled(node, event, id) == 1);
        let both = nodes.lines().until(|lines| once(lines, 0) && once(lines, 1));
        checks.check(both, format!("{node}, which stayed, has both events of all {} orders", missed.len()));
    }
    let got = |lines: &Lines, event| lines.known("node2", event, missed);
    let lines = nodes.lines();
    checks.check(got(lines, 0) + got(lines, 1) == 0, "node2, which is away, has none");
    nodes.start_again(1)?;
    let all = nodes.lines().until(|lines| got(lines, 1) == missed.len());
    checks.check(all, format!("node2 is back: it gets QoS 1 of all {} orders", missed.len()));
    checks.check(got(nodes.lines(), 0) == 0, "node2 gets QoS 0 of none: what was sent at most once is gone");
    let answers = answers_for(nodes.port(1), missed);
    checks.check(answers == missed.len(), format!("node2 answers for {answers} of {} orders", missed.len()));
    Ok(())
}

/// Many orders at the same time on all nodes: each event reaches each node, once. Gives the orders.
fn broadcast(nodes: &mut impl Nodes, checks: &mut Checks) -> Result<Vec<String>> {
    let ports = [0, 1, 2].map(|node| nodes.port(node));
    let started = Instant::now();
    let clients: Vec<_> = (0..PARALLEL).map(|client| thread::spawn(move || order(ports[client % 3]))).collect();
    let mut ids = Vec::new();
    for client in clients {
        ids.push(client.join().map_err(|_| "a client panicked")??.id);
    }
    let took = started.elapsed();
    let different = ids.iter().collect::<BTreeSet<_>>().len();
    checks.check(different == PARALLEL, format!("{PARALLEL} clients at once get {different} orders in {took:.1?}"));
    for (event, qos) in QOS.iter().enumerate() {
        let once = nodes.lines().until(|lines| lines.once_everywhere(event, &ids));
        let lines = NODES.len() * PARALLEL;
        checks.check(once, format!("{qos}: {lines} lines, each order once on each of {} nodes", NODES.len()));
    }
    Ok(ids)
}

/// Waits until a node counts so many nodes online; says whether it did in time, and how long it took.
fn until_online(port: u16, nodes: usize) -> (bool, Duration) {
    let started = Instant::now();
    loop {
        let reached = online(port) == Some(nodes);
        if reached || started.elapsed() > PATIENCE {
            return (reached, started.elapsed());
        }
        thread::sleep(Duration::from_millis(100));
    }
}
