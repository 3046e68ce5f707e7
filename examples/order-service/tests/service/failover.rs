//! A killed node takes nobody with it, and gets what it missed when it is back.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use crate::{
    client::{get, order_tea, post, try_send},
    service::{PATIENCE, Service, until},
};

fn kill(service: &mut Service, node: &str) {
    service.type_in(&format!("kill {node}"));
    service.wait_for(&format!("[{node}] 💀 Killed"));
}

fn start_again(service: &mut Service, node: &str) {
    service.type_in(&format!("start {node}"));
    service.wait_for_times(&format!("[{node}] 🚀 Serving"), 2);
}

#[test]
fn a_node_that_was_away_gets_the_reliable_events_that_it_missed_and_no_others() {
    let mut service = Service::start();
    let before = order_tea(service.ports[0]);
    for line in ["[QoS 0] Order created", "[QoS 1] Order shipped"] {
        service.wait_for_times(&format!("{line}: {before}"), 3);
    }
    kill(&mut service, "node2");
    assert!(try_send(service.ports[1], "GET", "/health", &[], b"").is_err(), "a killed node does not answer");
    let missed: Vec<_> = (0..20).map(|_| order_tea(service.ports[0])).collect();
    // What is sent at most once has gone out when another node has it; before, it might still reach the node that is back.
    for id in &missed {
        service.wait_for(&format!("[node3] 📝 [QoS 0] Order created: {id}"));
    }
    start_again(&mut service, "node2");
    for id in &missed {
        service.wait_for(&format!("[node2] 📦 [QoS 1] Order shipped: {id}"));
        let order = get(service.ports[1], &format!("/orders/{id}"));
        assert_eq!((order.status, order.text_of("status")), (200, "Shipped".to_owned()));
    }
    let after = order_tea(service.ports[0]);
    service.wait_for(&format!("[node2] 📝 [QoS 0] Order created: {after}"));
    service.type_in("quit");
    service.end();
    for id in &missed {
        assert_eq!(service.count(&format!("[node2] 📝 [QoS 0] Order created: {id}")), 0);
        assert_eq!(service.count(&format!("[node2] 📦 [QoS 1] Order shipped: {id}")), 1);
    }
}

#[test]
fn an_order_that_only_a_node_that_is_away_can_know_is_503() {
    let mut service = Service::start();
    kill(&mut service, "node2");
    let path = format!("/orders/node2-{:032x}", 7);
    for node in [0, 2] {
        let detail = get(service.ports[node], &path).problem(503);
        assert!(detail.contains("node2"), "{detail}");
        get(service.ports[node], &format!("/orders/node9-{:032x}", 7)).problem(503);
    }
    start_again(&mut service, "node2");
    until("node2 is back", || Some(()).filter(|()| get(service.ports[0], &path).status == 404));
}

#[test]
fn what_a_node_forgot_when_it_was_killed_it_learns_from_the_others() {
    let mut service = Service::start();
    let id = order_tea(service.ports[1]);
    service.wait_for_times(&format!("[QoS 1] Order shipped: {id}"), 3);
    kill(&mut service, "node2");
    assert_eq!(get(service.ports[0], &format!("/orders/{id}")).status, 200);
    start_again(&mut service, "node2");
    let order = until("node2 knows the others", || {
        Some(get(service.ports[1], &format!("/orders/{id}"))).filter(|response| response.status == 200)
    });
    assert_eq!(order.text_of("processedBy"), "node2");
}

#[test]
fn orders_are_taken_while_a_node_is_killed_and_started() {
    let mut service = Service::start_with(&[("ROUTING", "round-robin")]);
    let port = service.ports[0];
    let done = AtomicBool::new(false);
    let ids: Vec<String> = std::thread::scope(|scope| {
        let orders = || {
            let mut ids = Vec::new();
            while !done.load(Ordering::Relaxed) {
                ids.push(order_tea(port));
            }
            ids
        };
        let senders: Vec<_> = (0..4).map(|_| scope.spawn(orders)).collect();
        for round in 1..=3 {
            service.wait_for_times("[node3] 📝", round * 20);
            service.type_in("kill node3");
            service.wait_for_times("[node3] 💀 Killed", round);
            service.wait_for_times("[node2] 📝", round * 100);
            service.type_in("start node3");
            service.wait_for_times("[node3] 🚀 Serving", round + 1);
        }
        done.store(true, Ordering::Relaxed);
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    });
    // Every order that was confirmed is known, also those that the killed node took, and gets to every node.
    for id in &ids {
        let response = get(port, &format!("/orders/{id}"));
        assert_eq!(response.status, 200, "{response:?}");
    }
    let shipped = |line: &str| line.strip_prefix("[node3] 📦 [QoS 1] Order shipped: ").map(str::to_owned);
    let mut missing: HashSet<String> = ids.into_iter().collect();
    for id in service.said.iter().filter_map(|line| shipped(line)) {
        missing.remove(&id);
    }
    let deadline = Instant::now() + PATIENCE;
    while !missing.is_empty() {
        let Some(line) = service.next_line(deadline) else { panic!("never shipped on node3: {missing:?}") };
        shipped(line).map(|id| missing.remove(&id));
    }
    service.type_in("quit");
    let (status, errors) = service.end();
    assert!(status.success(), "{errors}");
}

#[test]
fn the_last_node_serves_alone() {
    let mut service = Service::start();
    kill(&mut service, "node1");
    kill(&mut service, "node2");
    let response = post(service.ports[2], r#"{"productId":"tea","quantity":2}"#);
    assert_eq!(response.text_of("processedBy"), "node3");
    service.type_in("quit");
    let (status, errors) = service.end();
    // What is stored for the nodes that were killed ends with the process, and it says so.
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("2 stored events were not handled"), "{errors}");
}
