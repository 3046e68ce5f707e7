//! A repeat under an `Idempotency-Key` is answered with the same order, on whichever node it comes in.

use std::collections::BTreeSet;

use crate::{
    client::{JSON, Response, get, send},
    service::Service,
};

fn post(port: u16, key: &str, quantity: u32) -> Response {
    let body = format!("{{\"productId\":\"tea\",\"quantity\":{quantity}}}");
    send(port, "POST", "/orders", &[JSON, ("Idempotency-Key", key)], &body)
}

#[test]
fn the_same_key_gives_the_same_order_on_every_node() {
    let mut service = Service::start();
    for key in ["a", "b", "c", "d", "e"] {
        let responses: Vec<_> = service.ports.iter().chain(&service.ports).map(|&port| post(port, key, 2)).collect();
        let bodies: BTreeSet<_> = responses.iter().map(|response| response.text.clone()).collect();
        assert!(responses.iter().all(|response| response.status == 201), "{responses:?}");
        assert_eq!(bodies.len(), 1, "{bodies:?}");
    }
    service.type_in("quit");
    service.end();
    assert_eq!(service.count("Processing order"), 5, "{:#?}", service.said);
}

#[test]
fn repeats_at_the_same_time_give_one_order() {
    let mut service = Service::start();
    let ids: BTreeSet<String> = std::thread::scope(|scope| {
        let ports = service.ports.iter().cycle().take(30);
        let posts: Vec<_> = ports.map(|&port| scope.spawn(move || post(port, "once", 2).text_of("orderId"))).collect();
        posts.into_iter().map(|post| post.join().unwrap()).collect()
    });
    assert_eq!(ids.len(), 1, "{ids:?}");
    service.type_in("quit");
    service.end();
    assert_eq!(service.count("Processing order"), 1, "{:#?}", service.said);
}

#[test]
fn the_same_key_with_another_body_is_422_on_every_node() {
    let service = Service::start();
    let first = post(service.ports[0], "a", 2);
    for &port in &service.ports {
        let response = post(port, "a", 3);
        assert!(response.problem(422).contains("other content"), "{response:?}");
        assert_eq!(response.json()["code"], "key_reused");
    }
    assert_eq!(post(service.ports[1], "a", 2).text, first.text);
    let order = get(service.ports[0], &format!("/orders/{}", first.text_of("orderId"))).json();
    assert_eq!(order["quantity"], 2);
}

#[test]
fn keys_find_another_node_when_theirs_is_killed() {
    let mut service = Service::start();
    service.type_in("kill node2");
    service.wait_for("[node2] 💀 Killed");
    for key in 0..12 {
        let responses = [0, 2, 0].map(|node| post(service.ports[node], &key.to_string(), 2));
        let ids: BTreeSet<_> = responses.iter().map(|response| response.text_of("orderId")).collect();
        assert_eq!(ids.len(), 1, "{responses:?}");
    }
}
