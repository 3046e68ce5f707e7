//! Processes that are killed: what was stored is handled, by those that live on and by those that come back.

use crate::{
    journals::repeats,
    world::{World, flow, server, turn, unsettled},
};

const NODES: [&str; 2] = ["node1", "node2"];

in_both_ways!(a_killed_publisher_loses_nothing_that_it_was_told_is_stored);

async fn a_killed_publisher_loses_nothing_that_it_was_told_is_stored(batch: usize) {
    let (_turn, server) = (turn().await, server());
    let world = World::new(&server);
    let url = server.url();
    let _nodes =
        [world.worker("node1", &url, "roles=all,group").await, world.worker("node2", &url, "roles=all,group").await];
    let mut publisher = world.worker("publisher", &url, &format!("publish=0..100000 batch={batch}")).await;
    world.reaches("publisher", "stored", 300).await;
    publisher.kill();
    world.handled("publisher", &NODES, "group").await;
    for node in NODES {
        world.handled("publisher", &[node], "all").await;
        world.repeats_at_most(&[node], "all", 0);
    }
    world.repeats_at_most(&NODES, "group", 0);
}

in_both_ways!(a_killed_consumer_handles_what_it_had_when_it_is_back);

async fn a_killed_consumer_handles_what_it_had_when_it_is_back(batch: usize) {
    let (_turn, server) = (turn().await, server());
    let world = World::new(&server);
    let url = server.url();
    let mut killed = world.worker("node1", &url, "roles=all,group,seen sleep_ms=20").await;
    let _other = world.worker("node2", &url, "roles=all,group,seen").await;
    let _publisher = world.worker("publisher", &url, &format!("{} seen=0..500", flow(batch))).await;
    world.reaches("node1", "ended all", 200).await;
    // Stopped first, so that what is in flight can be counted.
    killed.stop();
    let in_flight = unsettled(&server).await;
    killed.kill();
    world.restart(&mut killed).await;
    world.nothing_is_lost("publisher", &NODES).await;
    world.repeats_at_most(&["node1"], "all", in_flight["n~node1"] * batch);
    world.repeats_at_most(&["node2"], "all", 0);
    world.repeats_at_most(&NODES, "group", in_flight["g~workers~catga-tests~Noted"] * batch);
    for node in NODES {
        assert_eq!(repeats(&world.journals.numbers(&[node], "began seen")), 0, "at most once");
    }
}
