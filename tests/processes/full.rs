//! Streams that have no more room: the oldest goes and is missed aloud, or the newest is refused.

use std::time::Duration;

use async_nats::jetstream::stream::DiscardPolicy;
use xtask::nats::Server;

use crate::world::{World, events, server, turn, until};

/// Less than the tests publish.
const ROOM: i64 = 32 * 1024;
/// How many deliveries a node asks for at a time.
const ASKED: usize = 32;
/// A node that stood still for so long knows it.
const STILL: Duration = Duration::from_secs(1);

/// What an operator does to the stream of a running application.
async fn limit(server: &Server, discard: DiscardPolicy) {
    let client = async_nats::connect(server.url()).await.unwrap();
    let config = events(server).await.get_info().await.unwrap().config;
    let config = async_nats::jetstream::stream::Config { max_bytes: ROOM, discard, ..config };
    async_nats::jetstream::new(client).update_stream(config).await.unwrap();
}

in_both_ways!(a_node_that_was_away_from_a_full_stream_counts_what_it_missed);

async fn a_node_that_was_away_from_a_full_stream_counts_what_it_missed(batch: usize) {
    falls_behind(batch, true).await;
}

in_both_ways!(a_node_that_stood_still_before_a_full_stream_counts_what_it_missed);

async fn a_node_that_stood_still_before_a_full_stream_counts_what_it_missed(batch: usize) {
    falls_behind(batch, false).await;
}

async fn falls_behind(batch: usize, dies: bool) {
    let (_turn, server) = (turn().await, server());
    let world = World::new(&server);
    let url = server.url();
    let mut behind = world.worker("node1", &url, "roles=all").await;
    let _other = world.worker("node2", &url, "roles=all").await;
    limit(&server, DiscardPolicy::Old).await;
    let _first = world.worker("first", &url, &format!("publish=0..32 batch={batch}")).await;
    world.reaches("first", "published", 1).await;
    world.handled("first", &["node1"], "all").await;
    if dies {
        behind.kill();
    } else {
        behind.stop();
    }
    let _publisher = world.worker("publisher", &url, &format!("publish=32..2080 batch={batch}")).await;
    world.reaches("publisher", "published", 1).await;
    assert_eq!(world.journals.stored("publisher").len(), 2_048);
    if dies {
        world.restart(&mut behind).await;
    } else {
        tokio::time::sleep(STILL).await;
        behind.go_on();
    }
    // The last one is still there, and comes after all that is missed.
    world.reaches("node1", "ended all 2079", 1).await;
    let handled = || world.journals.numbers(&["node1"], "ended all").range(32..).count();
    let missed = || {
        let missed = world.journals.behind("node1", "missed").into_iter();
        missed.map(|missed| missed.parse::<usize>().unwrap()).sum::<usize>()
    };
    // What shares a frame is missed as one.
    until("what is handled and what is missed are all", || handled() + missed() * batch >= 2_048).await;
    let lost = 2_048 - handled();
    eprintln!("lost {lost}, missed {} frames of {batch}", missed());
    // What had been sent to the node when it stood still counts as missed, and comes all the same.
    let sent = if dies { 0 } else { ASKED };
    assert!((lost..=lost + sent * batch).contains(&(missed() * batch)));
}

in_both_ways!(a_stream_that_refuses_when_it_is_full_loses_nothing_that_it_took);

async fn a_stream_that_refuses_when_it_is_full_loses_nothing_that_it_took(batch: usize) {
    let (_turn, server) = (turn().await, server());
    let world = World::new(&server);
    let url = server.url();
    let _node = world.worker("node1", &url, "roles=all,group").await;
    limit(&server, DiscardPolicy::New).await;
    let _publisher = world.worker("publisher", &url, &format!("publish=0..2048 batch={batch}")).await;
    world.reaches("publisher", "refused", 1).await;
    let refused = world.journals.behind("publisher", "refused");
    assert!(refused[0].contains("NotStarted Overloaded"), "{}", refused[0]);
    world.handled("publisher", &["node1"], "all").await;
    world.handled("publisher", &["node1"], "group").await;
    world.repeats_at_most(&["node1"], "all", 0);
}
