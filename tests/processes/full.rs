//! Streams that have no more room: the oldest goes and is missed aloud, or the newest is refused.

use async_nats::jetstream::stream::DiscardPolicy;
use xtask::nats::Server;

use crate::world::{World, events, server, turn};

/// Less than the tests publish.
const ROOM: i64 = 32 * 1024;

/// What an operator does to the stream of a running application.
async fn limit(server: &Server, discard: DiscardPolicy) {
    let client = async_nats::connect(server.url()).await.unwrap();
    let config = events(server).await.get_info().await.unwrap().config;
    let config = async_nats::jetstream::stream::Config { max_bytes: ROOM, discard, ..config };
    async_nats::jetstream::new(client).update_stream(config).await.unwrap();
}

in_both_ways!(a_node_that_falls_behind_a_full_stream_counts_what_it_missed);

async fn a_node_that_falls_behind_a_full_stream_counts_what_it_missed(batch: usize) {
    let (_turn, server) = (turn().await, server());
    let world = World::new(&server);
    let url = server.url();
    let mut behind = world.worker("node1", &url, "roles=all").await;
    let _other = world.worker("node2", &url, "roles=all").await;
    limit(&server, DiscardPolicy::Old).await;
    let _first = world.worker("first", &url, &format!("publish=0..32 batch={batch}")).await;
    world.reaches("first", "published", 1).await;
    world.handled("first", &["node1"], "all").await;
    behind.kill();
    let publish = format!("publish=32..2080 batch={batch}");
    let _publisher = world.worker("publisher", &url, &publish).await;
    world.reaches("publisher", "published", 1).await;
    assert_eq!(world.journals.stored("publisher").len(), 2_048);
    world.restart(&mut behind).await;
    // The last one is still there, and comes after all that is missed.
    world.reaches("node1", "ended all 2079", 1).await;
    world.reaches("node1", "lagged", 1).await;
    let handled = world.journals.numbers(&["node1"], "ended all").range(32..).count();
    let missed: usize =
        world.journals.numbers(&["node1"], "lagged").into_iter().map(|(missed, times)| missed as usize * times).sum();
    // What shares a frame is missed as one.
    eprintln!("handled {handled}, missed {missed} frames of {batch}");
    assert_eq!(handled + missed * batch, 2_048);
}

in_both_ways!(a_stream_that_refuses_when_it_is_full_loses_nothing_that_it_took);

async fn a_stream_that_refuses_when_it_is_full_loses_nothing_that_it_took(batch: usize) {
    let (_turn, server) = (turn().await, server());
    let world = World::new(&server);
    let url = server.url();
    let _node = world.worker("node1", &url, "roles=all,group").await;
    limit(&server, DiscardPolicy::New).await;
    let _publisher = world.worker("publisher", &url, &format!("publish=0..2048 batch={batch} deadline_ms=40000")).await;
    world.reaches("publisher", "refused", 1).await;
    let refused = world.journals.behind("publisher", "refused");
    assert!(refused[0].contains("NotStarted Overloaded"), "{}", refused[0]);
    world.handled("publisher", &["node1"], "all").await;
    world.handled("publisher", &["node1"], "group").await;
    world.repeats_at_most(&["node1"], "all", 0);
}
