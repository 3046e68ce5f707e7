//! A cluster in one process: until all know each other, what a request costs, what an idle node takes.

use std::time::{Duration, Instant};

use catga::{
    Limits, Mediator, Query, Routing, handler,
    transport::{InProcess, Nats},
};
use serde::{Deserialize, Serialize};
use xtask::{
    nats::{Server, ServerOptions},
    usage,
};

use crate::{Result, load, runtime, text};

/// The most that one may take to know all others.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long requests are sent, and for how long nothing is done: two heartbeats.
const TIME: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(20);
const CALLERS: u64 = 64;

#[derive(Query, Clone, Serialize, Deserialize)]
#[response(u64)]
struct Ask {
    number: u64,
}

#[handler]
async fn answer(ask: Ask) -> u64 {
    ask.number
}

pub fn run(count: usize, nats: bool) -> Result {
    let server = if nats { Some(Server::start(&ServerOptions::default())?) } else { None };
    let runtime = runtime()?;
    let result = runtime.block_on(measure(count, server.as_ref()));
    runtime.shutdown_background();
    result
}

async fn measure(count: usize, server: Option<&Server>) -> Result {
    let of_server = || -> Result<Duration> {
        let id = server.and_then(Server::id).map(|id| usage::processor(&id.to_string()));
        id.unwrap_or(Ok(Duration::ZERO))
    };
    // How many messages the server has taken: requests and replies, each in a frame.
    let taken = || -> Result<Option<f64>> {
        let answer = server.map(|server| server.monitor("/varz")).transpose()?;
        Ok(answer.and_then(|answer| answer.field("in_msgs")?.parse().ok()))
    };
    let broker = InProcess::new();
    let (before, began) = (usage::memory("self")?, Instant::now());
    let (own, other) = (usage::processor("self")?, of_server()?);
    let mut nodes = Vec::new();
    for number in 0..count {
        let builder = Mediator::builder().node(format!("node{number}")).routing(Routing::RoundRobin);
        let builder = builder.discover(false).handler(answer).limits(Limits::default());
        let builder = match server {
            Some(server) => builder.transport(Nats::connect(server.url()).await.map_err(text)?),
            None => builder.transport(broker.clone()),
        };
        nodes.push(builder.build().await.map_err(text)?);
    }
    let built = began.elapsed();
    while nodes.iter().any(|node| node.cluster().nodes().len() < count) {
        if began.elapsed() > PATIENCE {
            return Err(format!("the nodes did not get to know each other within {PATIENCE:?}"));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let known = began.elapsed() - built;
    let kilobytes = usage::memory("self")? - before;
    println!(
        "{count} nodes over {}: built one after the other in {:.0} ms, all known {:.0} ms later ({:.0} + {:.0} ms of processor), {:.0} KiB a node",
        if server.is_some() { "NATS" } else { "a broker in the process" },
        built.as_secs_f64() * 1e3,
        known.as_secs_f64() * 1e3,
        (usage::processor("self")? - own).as_secs_f64() * 1e3,
        (of_server()? - other).as_secs_f64() * 1e3,
        kilobytes / count as f64,
    );

    let frames = taken()?;
    let (own, other, began) = (usage::processor("self")?, of_server()?, Instant::now());
    let sender = nodes[0].clone();
    let call = move |number| {
        let sender = sender.clone();
        async move {
            let reply = sender.send(Ask { number }).await.map_err(text)?;
            (reply == number).then_some(()).ok_or_else(|| "the reply is for another request".to_owned())
        }
    };
    let (calls, took) = load::call(CALLERS, move |_| began.elapsed() > TIME, call).await?;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / calls as f64;
    println!(
        "  requests in turn to all, {CALLERS} callers: {:.0}/s, processor a request {:.2} + {:.2} us",
        calls as f64 / took.as_secs_f64(),
        each(usage::processor("self")? - own),
        each(of_server()? - other),
    );
    // One node alone asks itself, and nothing travels.
    if count > 1
        && let Some((after, before)) = taken()?.zip(frames)
    {
        println!("  messages a frame, there and back: {:.1}", 2.0 * calls as f64 / (after - before));
    }

    let (own, other) = (usage::processor("self")?, of_server()?);
    tokio::time::sleep(IDLE).await;
    let part = |time: Duration| time.as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    println!("  idle: {:.2} + {:.2} % of a core", part(usage::processor("self")? - own), part(of_server()? - other));
    Ok(())
}
