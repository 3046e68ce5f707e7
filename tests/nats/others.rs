//! What callers, other programs and operators do that must not harm a node, nor make it say what is not true.

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use catga::{Command, Context, ErrorKind, Event, Failure, Mediator, Outcome, State, handler, transport::Nats};
use catga_tests::{
    Log,
    proxy::{Direction, Proxy, Rule},
};
use serde::{Deserialize, Serialize};
use xtask::nats::{Server, ServerOptions};

use crate::support::{bare, limits, node, node_at, reaches, server};

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Fact {
    number: u32,
}

/// As the subject of the stream says it.
const FACT: &str = "catga.reliable.catga-tests.Fact";
/// A fact that no handler takes.
const BAD: u32 = 666;

#[handler]
async fn keep(event: Fact, State(log): State<Log>, ctx: Context) -> Result<(), Failure> {
    log.add(format!("run {} of {}", ctx.attempt(), event.number));
    if event.number == BAD { Err(Failure::new("bad", "it is no fact")) } else { Ok(()) }
}

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(String)]
struct Grow {
    size: usize,
    fails: bool,
}

/// As the subject for foreign callers says it.
const GROW: &str = "catga.request.catga-tests.Grow";

#[handler]
async fn grow(command: Grow) -> Result<String, Failure> {
    let text = "x".repeat(command.size);
    if command.fails { Err(Failure::new("large", text)) } else { Ok(text) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_behind_a_lost_confirmation_leaves_the_outcome_unknown() {
    let (server, log) = (server(), Log::default());
    let proxy = Proxy::start(server.port()).await.unwrap();
    let mediator = node_at(&proxy.url(), "node1", &log).await.handler(keep).build().await.unwrap();
    let mut lost = proxy.add(
        Rule::drop(Direction::ToClient, |message| {
            message.payload.starts_with(br#"{"stream":"catga-events","seq":"#)
                || message.payload.starts_with(br#"{"stream":"catga-events", "seq":"#)
        })
        .times(1),
    );
    let publishing = tokio::spawn({
        let mediator = mediator.clone();
        async move { mediator.publish(Fact { number: 1 }).await }
    });
    lost.reaches(1).await;
    let jetstream = async_nats::jetstream::new(bare(&server).await);
    let mut config = jetstream.get_stream("catga-events").await.unwrap().cached_info().config.clone();
    config.sealed = true;
    jetstream.update_stream(config).await.unwrap();
    let error = publishing.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("sealed"), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    reaches(|| log.len(), 1).await;
    mediator.shutdown().await.unwrap();
}
