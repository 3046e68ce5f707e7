//! Plays three scenarios on three nodes, and shows the outcome of each as a check that can fail.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use xtask::{http, shell::Result};

use crate::service::{NODES, Order, PATIENCE, Service, order, says};

/// How many orders are placed while a node is away.
const ORDERS: usize = 10;
/// How many orders are placed at the same time.
const PARALLEL: usize = 60;
/// What a caller may lose to a node that was killed.
const FAILOVER: Duration = Duration::from_secs(2);
/// What a line of QoS 0 starts with, and one of QoS 1.
const QOS: [&str; 2] = ["[QoS 0] Order created", "[QoS 1] Order shipped"];

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
    service.type_in("quit")?;
    let code = service.ended()?;
    checks.check(code == Some(0), "the service ends by `quit` with code 0");
    let once = once_everywhere(service.lines(), QOS[0], &orders) && once_everywhere(service.lines(), QOS[1], &orders);
    checks.check(once, "nothing came twice by then");
    checks.result()
}

/// The checks that were made.
#[derive(Default)]
struct Checks {
    made: usize,
    failed: usize,
}

impl Checks {
    fn check(&mut self, holds: bool, what: impl AsRef<str>) {
        println!("  {} {}", if holds { '✓' } else { '✗' }, what.as_ref());
        self.made += 1;
        self.failed += usize::from(!holds);
    }

    fn result(&self) -> Result {
        match self.failed {
            0 => {
                println!("\n{} checks, all of them true", self.made);
                Ok(())
            }
            failed => Err(format!("{failed} of {} checks of the demo failed", self.made)),
        }
    }
}

/// A node is killed while orders come in; gives the orders that it missed.
fn failover(service: &mut Service, checks: &mut Checks) -> Result<Vec<String>> {
    let orders = place(service.port(0), ORDERS)?;
    let by: BTreeSet<_> = orders.iter().map(|order| order.processed_by.as_str()).collect();
    checks.check(by == BTreeSet::from(NODES), format!("node1 gives {ORDERS} orders to all nodes in turn: {by:?}"));
    // What the node handled before it is killed is nothing that it misses.
    let ids: Vec<_> = orders.iter().map(|order| order.id.clone()).collect();
    let handled = service.until(|lines| ids.iter().all(|id| count(lines, "node2", QOS[1], id) > 0));
    checks.check(handled, "all of them are on node2");

    service.type_in("kill node2")?;
    service.wait("node2 is killed", |line| says(line, "node2", "Killed"))?;
    let refused = http::get(service.port(1), "/health").is_err();
    checks.check(refused, "node2 is killed: it answers nothing");
    let orders = place(service.port(0), ORDERS)?;
    let slowest = orders.iter().map(|order| order.took).max().unwrap_or_default();
    let elsewhere = orders.iter().all(|order| order.processed_by != "node2");
    checks.check(elsewhere, format!("{ORDERS} of {ORDERS} orders are answered by the others"));
    checks.check(slowest < FAILOVER, format!("none of them took longer than {FAILOVER:?}: the slowest {slowest:.1?}"));

    let started = Instant::now();
    let offline = loop {
        let online = http::get(service.port(0), "/health")?.field("onlineNodes").map(str::to_owned);
        if online.as_deref() == Some("2") || started.elapsed() > PATIENCE {
            break online.as_deref() == Some("2");
        }
        thread::sleep(Duration::from_millis(100));
    };
    checks.check(offline, format!("/health on node1 counts 2 nodes online, after {:.1?}", started.elapsed()));
    Ok(orders.into_iter().map(|order| order.id).collect())
}

/// The node comes back: it gets the reliable events that it missed, and those of QoS 0 are lost.
fn restart(service: &mut Service, checks: &mut Checks, missed: &[String]) -> Result {
    for node in ["node1", "node3"] {
        let both =
            service.until(|lines| QOS.iter().all(|qos| missed.iter().all(|id| count(lines, node, qos, id) == 1)));
        checks.check(both, format!("{node}, which stayed, has both events of all {} orders", missed.len()));
    }
    let got = |lines: &[String], qos| missed.iter().filter(|id| count(lines, "node2", qos, id) > 0).count();
    let lines = service.lines();
    checks.check(got(lines, QOS[0]) + got(lines, QOS[1]) == 0, "node2, which is away, has none");
    service.type_in("start node2")?;
    let all = service.until(|lines| got(lines, QOS[1]) == missed.len());
    checks.check(all, format!("node2 is back: it gets QoS 1 of all {} orders", missed.len()));
    let lost = got(service.lines(), QOS[0]);
    checks.check(lost == 0, "node2 gets QoS 0 of none: what was sent at most once is gone");
    let port = service.port(1);
    let answers =
        missed.iter().filter(|id| http::get(port, &format!("/orders/{id}")).is_ok_and(|answer| answer.status == 200));
    let answers = answers.count();
    checks.check(answers == missed.len(), format!("node2 answers for {answers} of {} orders", missed.len()));
    Ok(())
}

/// Many orders at the same time on all nodes: each event reaches each node, once. Gives the orders.
fn broadcast(service: &mut Service, checks: &mut Checks) -> Result<Vec<String>> {
    let ports = [service.port(0), service.port(1), service.port(2)];
    let started = Instant::now();
    let clients: Vec<_> = (0..PARALLEL).map(|client| thread::spawn(move || order(ports[client % 3]))).collect();
    let mut ids = Vec::new();
    for client in clients {
        ids.push(client.join().map_err(|_| "a client panicked")??.id);
    }
    let took = started.elapsed();
    let different = ids.iter().collect::<BTreeSet<_>>().len();
    checks.check(different == PARALLEL, format!("{PARALLEL} clients at once get {different} orders in {took:.1?}"));
    for qos in QOS {
        let once = service.until(|lines| once_everywhere(lines, qos, &ids));
        let lines = NODES.len() * PARALLEL;
        checks.check(once, format!("{qos}: {lines} lines, each order once on each of {} nodes", NODES.len()));
    }
    Ok(ids)
}

/// Whether each node says this of each order, once.
fn once_everywhere(lines: &[String], text: &str, ids: &[String]) -> bool {
    NODES.iter().all(|node| ids.iter().all(|id| count(lines, node, text, id) == 1))
}

fn place(port: u16, orders: usize) -> Result<Vec<Order>> {
    (0..orders).map(|_| order(port)).collect()
}

/// How often a node says something of an order.
fn count(lines: &[String], node: &str, text: &str, id: &str) -> usize {
    lines.iter().filter(|line| says(line, node, text) && line.contains(id)).count()
}
