//! Orders are taken, announced to every node, and found on every node.

use std::collections::BTreeSet;

use serde_json::json;

use crate::{
    client::{get, order_tea, post},
    service::{Service, until},
};

#[test]
fn a_new_order_is_answered_with_its_id_its_place_and_the_node_that_took_it() {
    let service = Service::start();
    let response = post(service.ports[0], r#"{"productId":"tea","quantity":2}"#);
    assert_eq!(response.status, 201, "{response:?}");
    let id = response.text_of("orderId");
    assert_eq!(response.json(), json!({ "orderId": id, "status": "Created", "processedBy": "node1" }));
    assert_eq!(response.header("location"), Some(&*format!("/orders/{id}")));
    assert_eq!(response.header("content-type"), Some("application/json"));
}

#[test]
fn every_node_says_what_it_does_with_an_order() {
    let mut service = Service::start();
    let id = order_tea(service.ports[0]);
    assert_eq!(service.wait_for("Processing"), format!("[node1] 📦 Processing order {id} on node1"));
    for node in ["node1", "node2", "node3"] {
        service.wait_for(&format!("[{node}] 📝 [QoS 0] Order created: {id}"));
        service.wait_for(&format!("[{node}] 📦 [QoS 1] Order shipped: {id}"));
    }
    service.type_in("quit");
    service.end();
    assert_eq!((service.count("[QoS 0]"), service.count("[QoS 1]")), (3, 3), "{:#?}", service.said);
}

#[test]
fn every_node_answers_for_an_order() {
    let service = Service::start();
    let id = order_tea(service.ports[1]);
    for &port in &service.ports {
        let order = until("shipping", || {
            let response = get(port, &format!("/orders/{id}"));
            // Known from the first moment: a node that has not heard of it asks the one that took it.
            assert_eq!(response.status, 200, "{response:?}");
            Some(response.json()).filter(|order| order["status"] == "Shipped")
        });
        let tracking = order["trackingNumber"].as_str().unwrap().to_owned();
        assert!(!tracking.is_empty());
        let expected = json!({
            "orderId": id, "productId": "tea", "quantity": 2, "status": "Shipped", "processedBy": "node2",
            "trackingNumber": tracking,
        });
        assert_eq!(order, expected);
    }
}

#[test]
fn an_order_that_does_not_exist_is_404_on_every_node() {
    let service = Service::start();
    for &port in &service.ports {
        let never_given = format!("node1-{:032x}", 1);
        for id in [&*never_given, "7", "node1", "node1-1", "%20", "..", "a%2Fb", &"x".repeat(10_000)] {
            get(port, &format!("/orders/{id}")).problem(404);
        }
    }
}

#[test]
fn orders_stay_where_they_came_in_by_default() {
    let service = Service::start();
    for _ in 0..6 {
        let taker = post(service.ports[2], r#"{"productId":"tea","quantity":1}"#).text_of("processedBy");
        assert_eq!(taker, "node3");
    }
}

#[test]
fn orders_go_round_if_the_routing_says_so() {
    let service = Service::start_with(&[("ROUTING", "round-robin")]);
    let taker = |_| post(service.ports[0], r#"{"productId":"tea","quantity":1}"#).text_of("processedBy");
    let takers: Vec<_> = (0..6).map(taker).collect();
    for round in takers.chunks(3) {
        let nodes: BTreeSet<_> = round.iter().map(String::as_str).collect();
        assert_eq!(nodes, BTreeSet::from(["node1", "node2", "node3"]), "{takers:?}");
    }
}
