//! `/health` has the documented form, and shows who is there; `/ready` says that a node takes work.

use serde_json::{Value, json};

use crate::{
    client::get,
    service::{Service, until},
};

#[test]
fn health_shows_this_node_and_all_others() {
    let service = Service::start();
    let endpoint = |node: usize| format!("http://localhost:{}", service.ports[node - 1]);
    let known = |node: usize| json!({ "nodeId": format!("node{node}"), "endpoint": endpoint(node), "isOnline": true });
    let response = get(service.ports[1], "/health");
    let health = response.json();
    let seen = health["currentNode"]["lastSeen"].as_str().unwrap();
    assert!(seen.len() == 24 && seen.ends_with('Z') && seen.as_bytes()[10] == b'T', "{seen}");
    let expected = json!({
        "currentNode": {
            "nodeId": "node2", "endpoint": endpoint(2), "lastSeen": seen, "load": 0, "isOnline": true,
        },
        "totalNodes": 3,
        "onlineNodes": 3,
        "nodes": [known(1), known(2), known(3)],
    });
    assert_eq!((response.status, health.clone()), (200, expected));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(get(service.ports[1], "/ready").status, 200);
}

#[test]
fn a_killed_node_goes_offline_and_comes_back() {
    let mut service = Service::start();
    let port = service.ports[0];
    let online = |health: &Value| health["nodes"][1]["isOnline"].clone();
    service.type_in("kill node2");
    let health =
        until("node2 is offline", || Some(get(port, "/health").json()).filter(|health| online(health) == false));
    assert_eq!((&health["totalNodes"], &health["onlineNodes"]), (&json!(3), &json!(2)));
    service.type_in("start node2");
    until("node2 is online", || Some(()).filter(|()| online(&get(port, "/health").json()) == true));
}
