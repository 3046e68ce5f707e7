//! Nodes in processes of their own, with a server between them.

use xtask::nats::{Server, ServerOptions};

use crate::{
    client::{get, order_tea},
    service::{Service, command, until},
};

fn node(server: &Server, id: &str) -> Service {
    let mut command = command(&[id, "0"]);
    command.env("NATS_URL", server.url());
    let mut service = Service::spawn(command);
    service.wait_for("🚀 Serving");
    service
}

#[test]
fn nodes_of_two_processes_are_one_cluster() {
    let server = Server::start(&ServerOptions::default()).unwrap();
    let mut nodes = [node(&server, "node1"), node(&server, "node2")];
    for node in &nodes {
        let health = || get(node.ports[0], "/health").json()["onlineNodes"].as_u64();
        until("both are online", || health().filter(|online| *online == 2));
    }
    let id = order_tea(nodes[0].ports[0]);
    for node in &mut nodes {
        node.wait_for(&format!("[QoS 1] Order shipped: {id}"));
        assert_eq!(get(node.ports[0], &format!("/orders/{id}")).text_of("status"), "Shipped");
    }
    for node in &mut nodes {
        node.signal("-TERM");
        assert_eq!(node.end().0.code(), Some(0));
    }
}

#[test]
fn a_server_that_is_not_there_is_one_sentence() {
    let mut server = Server::start(&ServerOptions::default()).unwrap();
    server.kill();
    let mut command = command(&["node1", "0"]);
    command.env("NATS_URL", server.url());
    let (status, errors) = Service::spawn(command).end();
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains(&server.port().to_string()) && errors.lines().count() == 1, "{errors}");
}
