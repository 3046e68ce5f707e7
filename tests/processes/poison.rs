//! A message that kills every process that handles it.

use std::time::Duration;

use crate::world::{World, becomes, server, turn, unsettled};

/// The number of the message, in the middle of a frame.
const DEADLY: u32 = 17;
/// How long a life is waited for to end: longer than a lease, after which deliveries come again.
const LIFE: Duration = Duration::from_millis(1_500);
/// More lives than it may take.
const LIVES: usize = 20;

in_both_ways!(a_message_that_kills_its_process_takes_no_other_with_it);

/// Whoever starts processes starts this one again each time.
async fn a_message_that_kills_its_process_takes_no_other_with_it(batch: usize) {
    let (_turn, server) = (turn().await, server());
    let world = World::new(&server);
    let url = server.url();
    let mut node = world.worker("node1", &url, &format!("roles=all dies_at={DEADLY}")).await;
    let _publisher = world.worker("publisher", &url, &format!("publish=0..32 batch={batch}")).await;
    let mut lives = 1;
    while becomes(LIFE, || node.has_ended()).await || unsettled(&server).await["n~node1"] > 0 {
        if node.has_ended() {
            lives += 1;
            assert!(lives < LIVES, "it is not given up; see {}", world.journals.0.display());
            world.restart(&mut node).await;
        }
    }
    world.reaches("publisher", "published", 1).await;
    assert_eq!(world.journals.stored("publisher").len(), 32);
    world.handled_but("publisher", &["node1"], "all", &[DEADLY]).await;
    assert_eq!(world.dead(&url).await, [(DEADLY, "n.node1".to_owned())]);
    eprintln!("given up after {lives} lives");
}
