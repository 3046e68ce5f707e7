//! One node that hears of a thousand others: what their announcements cost it, and what it answers.
//!
//! The others are words alone: one more member of the broker says what they would say.

use std::time::{Duration, Instant};

use bytes::Bytes;
use catga::{
    Mediator,
    transport::{Capabilities, InProcess, Joined, Registration, Transport},
};
use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::sync::mpsc;
use xtask::usage;

use crate::{Result, runtime, text};

/// How many request types each node handles.
const TYPES: usize = 20;
/// How many are said at a time; the queue of a node holds more.
const AT_A_TIME: usize = 500;
/// How many heartbeats of each.
const ROUNDS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);

pub fn run(count: usize) -> Result {
    let runtime = runtime()?;
    let result = runtime.block_on(measure(count));
    runtime.shutdown_background();
    result
}

/// A broker that one more member joins beside the node, for all those that are words alone.
struct WithSwarm {
    broker: InProcess,
    sender: mpsc::Sender<Joined>,
}

impl Transport for WithSwarm {
    fn capabilities(&self) -> Capabilities {
        self.broker.capabilities()
    }

    fn join(&self, node: Registration) -> BoxFuture<'_, std::result::Result<Joined, catga::Error>> {
        Box::pin(async move {
            let mut swarm = node.clone();
            (swarm.node, swarm.queue) = ("swarm".into(), 1 << 16);
            // There is room for one, and one node is built.
            let _ = self.sender.try_send(self.broker.join(swarm).await?);
            self.broker.join(node).await
        })
    }
}

/// What a simulated node says, in the words of `docs/wire.md`.
fn announcement(kind: &str, number: usize, load: usize) -> Bytes {
    let mut record = json!({
        "node": format!("node{number}"), "incarnation": 1, "endpoint": format!("http://10.0.0.{number}:5000"), "load": load,
        "started_ms": 1_790_000_000_000_u64, "requests_hash": 7,
    });
    if kind == "joining" {
        let types: Vec<_> = (0..TYPES).map(|number| format!("orders.Request{number}")).collect();
        record["requests"] = json!(types);
    }
    json!({ kind: record }).to_string().into()
}

async fn measure(count: usize) -> Result {
    let (sender, mut swarms) = mpsc::channel(1);
    let transport = WithSwarm { broker: InProcess::new(), sender };
    let node = Mediator::builder().node("node").discover(false).transport(transport).build().await.map_err(text)?;
    let mut swarm = swarms.recv().await.ok_or("the node joined without the others")?;
    let mut answers = 0;
    let before = (usage::memory("self")?, usage::thread()?, Instant::now());
    for first in (0..count).step_by(AT_A_TIME) {
        for number in first..count.min(first + AT_A_TIME) {
            swarm.link.announce(announcement("joining", number, 0)).await.map_err(text)?;
        }
        while node.cluster().nodes().len() <= count.min(first + AT_A_TIME) {
            if before.2.elapsed() > PATIENCE {
                return Err(format!("{} of {count} nodes are known after {PATIENCE:?}", node.cluster().nodes().len()));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let (took, time) = (before.2.elapsed(), usage::thread()? - before.1);
    while swarm.inbox.cluster.try_recv().is_ok() {
        answers += 1;
    }
    println!(
        "{count} nodes join: known after {:.0} ms, {:.1} us of processor each, {answers} answers to all, {:.2} KiB each",
        took.as_secs_f64() * 1e3,
        time.as_secs_f64() * 1e6 / count as f64,
        (usage::memory("self")? - before.0) / count as f64,
    );

    let (own, began) = (usage::thread()?, Instant::now());
    for round in 1..=ROUNDS {
        for number in 0..count {
            swarm.link.announce(announcement("here", number, round)).await.map_err(text)?;
            if number % AT_A_TIME == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let last = format!("node{}", count - 1);
        while node.cluster().node(&last).is_some_and(|known| known.load < round as u64) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let heartbeats = (count * ROUNDS) as f64;
    println!(
        "  {:.2} us of processor a heartbeat, {:.0} a second",
        (usage::thread()? - own).as_secs_f64() * 1e6 / heartbeats,
        heartbeats / began.elapsed().as_secs_f64(),
    );
    Ok(())
}
