//! Three servers: what is stored on all of them outlives each.

use xtask::{
    nats::{Cluster, ServerOptions},
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
    let mut client = Client::connect(&cluster.servers[second]);
    // The stream has a leader of its own, which is elected by itself.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while client.stored() != "1" {
        assert!(std::time::Instant::now() < deadline, "the stream is not back");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    client.store();

    cluster.servers[first].restart()?;
    cluster.leader()?;
    assert_eq!(Client::connect(&cluster.servers[first]).stored(), "2");
    Ok(())
}
