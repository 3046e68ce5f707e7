//! Three processes and a real server: what a cluster must stand.

use std::{thread, time::Duration};

use xtask::{
    nats::{Server, ServerOptions},
    shell::Result,
};

use super::{FAILOVER, Nodes, ORDERS, broadcast, checks::Checks, failover, load::Load, restart, until_online};
use crate::{
    lines::{NODES, says},
    orders::{answers_for, online, place},
    processes::Processes,
};

/// Every order in which three nodes can start.
const ORDERS_OF_START: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
/// How many orders are answered before something happens, and after it.
const UNDER_LOAD: usize = 50;
/// How often it happens.
const ROUNDS: usize = 3;
/// How long the server is away.
const OUTAGE: Duration = Duration::from_secs(1);

/// Three nodes in three processes.
pub(crate) fn run() -> Result {
    let mut server = Server::start(&ServerOptions::default())?;
    println!("a server at {}", server.url());
    let mut nodes = Processes::new(server.url())?;
    let mut checks = Checks::default();
    println!("\nWhoever starts first");
    start_in_every_order(&mut nodes, &mut checks)?;
    println!("\nFailover");
    let missed = failover(&mut nodes, &mut checks)?;
    println!("\nQoS 0 against QoS 1");
    restart(&mut nodes, &mut checks, &missed)?;
    println!("\nParallel broadcast");
    broadcast(&mut nodes, &mut checks)?;
    println!("\nA node is killed at work");
    kill_at_work(&mut nodes, &mut checks)?;
    println!("\nThe server is killed");
    kill_server(&mut server, &mut nodes, &mut checks)?;
    println!("\nA node stands still");
    pause(&mut nodes, &mut checks)?;
    println!("\nThe end");
    checks.check(nodes.stop()?, "each node ends by SIGTERM with code 0");
    checks.result()
}

fn start_in_every_order(nodes: &mut Processes, checks: &mut Checks) -> Result {
    for order in ORDERS_OF_START {
        let stopped = nodes.stop()?;
        for node in order {
            nodes.start(node)?;
        }
        let seen = [0, 1, 2].iter().all(|node| until_online(nodes.port(*node), NODES.len()).0);
        let names = order.map(|node| NODES[node]).join(", ");
        checks.check(seen && stopped, format!("{names}: each of them sees three nodes"));
    }
    Ok(())
}

/// `kill -9` of a node that takes orders, again and again; the clients of the others notice nothing but a delay.
fn kill_at_work(nodes: &mut Processes, checks: &mut Checks) -> Result {
    let load = Load::start(nodes, &[0, 2]);
    let mut answered = true;
    for _ in 0..ROUNDS {
        works(nodes, 1)?;
        nodes.kill(1)?;
        answered &= load.goes_on(nodes, UNDER_LOAD) && online(nodes.port(1)).is_none();
        nodes.start_again(1)?;
    }
    let ordered = load.stop()?;
    let (orders, refused) = (ordered.orders.len(), ordered.refused.len());
    checks.check(answered, format!("orders are answered while node2 is away, {ROUNDS} times"));
    checks.check(refused == 0, format!("{orders} orders are answered, {refused} refused{}", reason(&ordered.refused)));
    let slowest = ordered.slowest();
    checks.check(slowest < FAILOVER, format!("none of them took longer than {FAILOVER:?}: the slowest {slowest:.1?}"));
    everywhere(nodes, checks, &ordered.ids());
    Ok(())
}

/// What was answered is stored, whatever happens to the server; what was not may be lost, and is said to be.
fn kill_server(server: &mut Server, nodes: &mut Processes, checks: &mut Checks) -> Result {
    let load = Load::start(nodes, &[0, 1, 2]);
    let (mut answered, mut meanwhile) = (true, 0);
    for _ in 0..ROUNDS {
        answered &= load.goes_on(nodes, UNDER_LOAD);
        server.kill();
        // What was stored just before is still on its way to its client.
        thread::sleep(OUTAGE / 4);
        let before = load.answered();
        thread::sleep(OUTAGE);
        meanwhile += load.answered() - before;
        server.restart()?;
    }
    answered &= load.goes_on(nodes, UNDER_LOAD);
    let ordered = load.stop()?;
    let (orders, refused) = (ordered.orders.len(), ordered.refused.len());
    checks.check(
        answered,
        format!("orders are answered before the server is killed and when it is back, {ROUNDS} times"),
    );
    checks.check(meanwhile == 0, format!("{meanwhile} are while it is away: their events could not be stored"));
    println!("    {orders} orders are answered, {refused} refused{}", reason(&ordered.refused));
    everywhere(nodes, checks, &ordered.ids());
    let seen = [0, 1, 2].iter().all(|node| until_online(nodes.port(*node), NODES.len()).0);
    checks.check(seen, "each node sees three nodes");
    Ok(())
}

/// `SIGSTOP`: to the others a node that stands still looks like one that is cut off.
fn pause(nodes: &mut Processes, checks: &mut Checks) -> Result {
    let load = Load::start(nodes, &[0]);
    works(nodes, 2)?;
    nodes.process(2)?.pause()?;
    let answered = load.goes_on(nodes, UNDER_LOAD);
    let ordered = load.stop()?;
    let orders = place(nodes.port(0), ORDERS)?;
    let slowest = orders.iter().map(|order| order.took).max().unwrap_or_default().max(ordered.slowest());
    let refused = ordered.refused.len();
    let what = format!("orders are answered while node3 stands still, {refused} refused{}", reason(&ordered.refused));
    checks.check(answered && refused == 0, what);
    let elsewhere = orders.iter().all(|order| order.processed_by != "node3");
    checks.check(elsewhere, format!("{ORDERS} of {ORDERS} further ones by the others"));
    checks.check(slowest < FAILOVER, format!("none of them took longer than {FAILOVER:?}: the slowest {slowest:.1?}"));
    let (two, after) = until_online(nodes.port(0), 2);
    checks.check(two, format!("/health on node1 counts 2 nodes online, after {after:.1?}"));
    let ids: Vec<_> = orders.into_iter().map(|order| order.id).collect();
    nodes.lines().take();
    checks.check(nodes.lines().known("node3", 1, &ids) == 0, "node3 has QoS 1 of none of them");
    nodes.process(2)?.resume()?;
    let (three, after) = until_online(nodes.port(0), 3);
    checks.check(three, format!("node3 goes on: /health on node1 counts 3 nodes, after {after:.1?}"));
    everywhere(nodes, checks, &ids);
    Ok(())
}

/// Waits until a node takes an order: under load it is given more then, and what happens to it happens at work.
fn works(nodes: &mut Processes, node: usize) -> Result {
    nodes.lines().take();
    let from = nodes.lines().len();
    let name = NODES[node];
    nodes.lines().wait(from, &format!("{name} takes an order"), |line| says(line, name, "Processing order")).map(|_| ())
}

/// Each node gets the reliable event of each order, and answers for it.
fn everywhere(nodes: &mut Processes, checks: &mut Checks, ids: &[String]) {
    let all = nodes.lines().until(|lines| NODES.iter().all(|node| lines.known(node, 1, ids) == ids.len()));
    let known = NODES.map(|node| nodes.lines().known(node, 1, ids));
    checks.check(all, format!("QoS 1 of {} orders on each node: {known:?}", ids.len()));
    let answers = [0, 1, 2].map(|node| answers_for(nodes.port(node), ids));
    let each = answers.iter().all(|answers| *answers == ids.len());
    checks.check(each, format!("each node answers for all of them: {answers:?}"));
}

/// One of the reasons, for whoever reads the check.
fn reason(refused: &[String]) -> String {
    refused.first().map(|reason| format!(", such as by: {reason}")).unwrap_or_default()
}
