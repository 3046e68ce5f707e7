//! Connections that are cut, frozen and lossy, and processes that stand still.

use catga_tests::proxy::{Direction, Message, Proxy, Rule};

use crate::world::{World, flow, in_flight, server, turn};

const NODES: [&str; 2] = ["node1", "node2"];

in_both_ways!(a_node_whose_connection_is_cut_goes_on);

async fn a_node_whose_connection_is_cut_goes_on(batch: usize) {
    let (_turn, server) = (turn().await, server());
    let world = World::new(&server);
    let proxy = Proxy::start(server.port()).await.unwrap();
    let _nodes = [
        world.worker("node1", &proxy.url(), "roles=all,group").await,
        world.worker("node2", &server.url(), "roles=all,group").await,
    ];
    let _publisher = world.worker("publisher", &proxy.url(), &flow(batch)).await;
    for cut in 1..=2 {
        world.reaches("node1", "ended all", 200 * cut).await;
        proxy.cut().await;
    }
    // Both live on and know what they have done.
    world.came_through(&NODES, 2 * in_flight(batch)).await;
}

in_both_ways!(a_node_behind_a_half_open_connection_loses_nothing);

/// Nobody is told that nothing gets through; in the end all that waited arrives.
async fn a_node_behind_a_half_open_connection_loses_nothing(batch: usize) {
    let (_turn, server) = (turn().await, server());
    let world = World::new(&server);
    let proxy = Proxy::start(server.port()).await.unwrap();
    let _nodes = [
        world.worker("node1", &proxy.url(), "roles=all,group").await,
        world.worker("node2", &server.url(), "roles=all,group").await,
    ];
    let _publisher = world.worker("publisher", &server.url(), &flow(batch)).await;
    world.reaches("node1", "ended all", 200).await;
    proxy.freeze();
    // What the frozen one had comes to the other one when its lease has run out.
    world.reaches("publisher", "published", 1).await;
    world.handled("publisher", &["node2"], "all").await;
    world.handled("publisher", &NODES, "group").await;
    proxy.thaw();
    world.came_through(&NODES, in_flight(batch)).await;
}

in_both_ways!(a_node_that_stands_still_for_a_while_loses_nothing);

async fn a_node_that_stands_still_for_a_while_loses_nothing(batch: usize) {
    let (_turn, server) = (turn().await, server());
    let world = World::new(&server);
    let url = server.url();
    let mut stopped = world.worker("node1", &url, "roles=all,group").await;
    let _other = world.worker("node2", &url, "roles=all,group").await;
    let _publisher = world.worker("publisher", &url, &flow(batch)).await;
    world.reaches("node1", "ended all", 200).await;
    stopped.stop();
    world.reaches("publisher", "published", 1).await;
    world.handled("publisher", &["node2"], "all").await;
    world.handled("publisher", &NODES, "group").await;
    stopped.go_on();
    world.came_through(&NODES, in_flight(batch)).await;
}

in_both_ways!(lost_acknowledgements_and_confirmations_lose_nothing);

async fn lost_acknowledgements_and_confirmations_lose_nothing(batch: usize) {
    /// How many of each are lost.
    const LOST: usize = 8;
    let (_turn, server) = (turn().await, server());
    let world = World::new(&server);
    let proxy = Proxy::start(server.port()).await.unwrap();
    let url = proxy.url();
    let _nodes =
        [world.worker("node1", &url, "roles=all,group").await, world.worker("node2", &url, "roles=all,group").await];
    let acknowledgement = |message: &Message| message.payload.starts_with(b"+ACK");
    let confirmation = |message: &Message| message.payload.starts_with(br#"{"stream":"#);
    let mut acknowledgements = proxy.add(Rule::drop(Direction::ToServer, acknowledgement).times(LOST));
    let mut confirmations = proxy.add(Rule::drop(Direction::ToClient, confirmation).times(LOST));
    let _publisher = world.worker("publisher", &url, &format!("publish=0..960 batch={batch}")).await;
    assert_eq!((acknowledgements.reaches(LOST).await, confirmations.reaches(LOST).await), (LOST, LOST));
    // Of a group, another member may get what this one has done.
    world.came_through(&NODES, LOST * batch).await;
}
