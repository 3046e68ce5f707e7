//! Servers that are killed, and what they keep that is taken away.

use xtask::nats::{Cluster, ServerOptions};

use crate::world::{World, alone, events, flow, in_flight, server, turn};

const NODES: [&str; 2] = ["node1", "node2"];

in_both_ways!(a_server_that_is_killed_under_load_loses_nothing);

async fn a_server_that_is_killed_under_load_loses_nothing(batch: usize) {
    let (_turn, mut server) = (turn().await, server());
    let world = World::new(&server);
    let url = server.url();
    let _nodes =
        [world.worker("node1", &url, "roles=all,group").await, world.worker("node2", &url, "roles=all,group").await];
    let _publisher = world.worker("publisher", &url, &flow(batch)).await;
    world.reaches("publisher", "stored", 200).await;
    server.kill();
    server.restart().unwrap();
    // It has lived on, and knows what it has done.
    world.came_through(&NODES, 2 * in_flight(batch)).await;
}

in_both_ways!(a_cluster_goes_on_without_the_leader_of_its_stream);

async fn a_cluster_goes_on_without_the_leader_of_its_stream(batch: usize) {
    let _turn = alone().await;
    let mut cluster = Cluster::start(&ServerOptions::default()).unwrap();
    let world = World::new(&cluster.servers[0]);
    // The first node makes the streams; they tell which server leads.
    let first = world.worker("first", &cluster.url(), "").await;
    let info = events(&cluster.servers[0]).await.get_info().await.unwrap();
    assert_eq!(info.config.num_replicas, 3);
    let leader = info.cluster.unwrap().leader.unwrap();
    let leader = cluster.servers.iter().position(|server| server.name() == leader).unwrap();
    drop(first);
    // One node knows only the leader, and waits until it is back.
    let _nodes = [
        world.worker("node1", &cluster.url(), "roles=all,group").await,
        world.worker("node2", &cluster.servers[leader].url(), "roles=all,group").await,
    ];
    let _publisher = world.worker("publisher", &cluster.url(), &flow(batch)).await;
    world.reaches("publisher", "stored", 200).await;
    cluster.servers[leader].kill();
    let stored = world.journals.stored("publisher").len();
    // Two of three are enough.
    world.reaches("publisher", "stored", stored + 200).await;
    world.reaches("node1", "ended all", stored + 100).await;
    cluster.servers[leader].restart().unwrap();
    world.came_through(&NODES, 2 * in_flight(batch)).await;
}

in_both_ways!(consumers_that_are_deleted_behind_our_back_are_made_anew);

async fn consumers_that_are_deleted_behind_our_back_are_made_anew(batch: usize) {
    let (_turn, server) = (turn().await, server());
    let world = World::new(&server);
    let url = server.url();
    let _nodes =
        [world.worker("node1", &url, "roles=all,group").await, world.worker("node2", &url, "roles=all,group").await];
    let _publisher = world.worker("publisher", &url, &flow(batch)).await;
    world.reaches("publisher", "stored", 200).await;
    let stream = events(&server).await;
    for consumer in ["n~node1", "n~node2", "g~workers~catga-tests~Noted"] {
        stream.delete_consumer(consumer).await.unwrap();
    }
    // The group is made anew behind what one member has done; what the other one did behind that comes again.
    world.came_through(&NODES, 2 * in_flight(batch)).await;
}

in_both_ways!(what_is_published_before_the_first_delivery_survives_a_deleted_consumer);

async fn what_is_published_before_the_first_delivery_survives_a_deleted_consumer(batch: usize) {
    let _turn = turn().await;
    // In an empty stream there is no place to go on from; in one that is not, what is older than the node is not for it.
    for older in [0, 32] {
        let server = server();
        let world = World::new(&server);
        let url = server.url();
        let _older = world.worker("older", &url, &format!("publish=100..{}", 100 + older)).await;
        world.reaches("older", "published", 1).await;
        let mut node = world.worker("node1", &url, "roles=all,group").await;
        node.stop();
        let stream = events(&server).await;
        for consumer in ["n~node1", "g~workers~catga-tests~Noted"] {
            stream.delete_consumer(consumer).await.unwrap();
        }
        let _publisher = world.worker("publisher", &url, &format!("publish=0..64 batch={batch}")).await;
        world.reaches("publisher", "published", 1).await;
        node.go_on();
        world.nothing_is_lost("publisher", &["node1"]).await;
        assert_eq!(world.journals.numbers(&["node1"], "began all"), (0..64).map(|number| (number, 1)).collect());
    }
}
