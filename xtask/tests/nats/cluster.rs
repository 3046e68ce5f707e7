//! Three servers: what is stored on all of them outlives each.

use std::time::{Duration, Instant};

use xtask::{
    nats::{Cluster, Server, ServerOptions},
    shell::Result,
};

use crate::protocol::Client;

#[test]
fn a_cluster_elects_a_leader_and_keeps_what_is_stored_when_it_is_killed() -> Result {
    let mut cluster = Cluster::start(&ServerOptions::default())?;
    assert_eq!(cluster.url().split(',').count(), 3);
    let first = cluster.leader()?;
    let mut client = Client::connect(&cluster.servers[first]);
    client.create_stream(3);
    client.store();

    cluster.servers[first].kill();
    let second = cluster.leader()?;
    assert_ne!(second, first);
    until_stored(&cluster.servers[second], "1");
    Client::connect(&cluster.servers[second]).store();

    cluster.servers[first].restart()?;
    cluster.leader()?;
    until_stored(&cluster.servers[first], "2");
    Ok(())
}

/// A stream has a leader of its own. Until that is elected nobody answers, so the question is repeated.
fn until_stored(server: &Server, messages: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Client::connect(server).stored_within(Duration::from_millis(500)).as_deref() != Some(messages) {
        assert!(Instant::now() < deadline, "{messages} messages are not there: {}", server.log());
    }
}
