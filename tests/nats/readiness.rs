//! A node says when it cannot do its work, and why; and does it again when it can.

use std::time::Duration;

use catga::{Context, Error, ErrorKind, Event, Mediator, State, handler, transport::Nats};
use catga_tests::Log;
use serde::{Deserialize, Serialize};
use xtask::nats::{Server, ServerOptions};

use crate::support::{limits, lines, node, reaches, server};

#[derive(Event, Clone, Serialize, Deserialize)]
struct Seen {
    number: u32,
}

#[handler]
async fn see(event: Seen, State(log): State<Log>, ctx: Context) {
    log.add(format!("{} sees {}", ctx.node(), event.number));
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Kept {
    number: u32,
}

#[handler]
async fn keep(event: Kept, State(log): State<Log>, ctx: Context) {
    log.add(format!("{} keeps {}", ctx.node(), event.number));
}

/// Waits until a node is ready, or is not, and gives the reason.
async fn turns(mediator: &Mediator, ready: bool) -> Option<Error> {
    let wait = async {
        while mediator.ready().is_ok() != ready {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), wait).await.unwrap();
    mediator.ready().err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_its_server_is_not_ready() {
    let (mut server, log) = (server(), Log::default());
    let first = node(&server, "node1", &log).await.handler(see).handler(keep).build().await.unwrap();
    let second = node(&server, "node2", &log).await.handler(see).handler(keep).build().await.unwrap();
    first.ready().unwrap();
    server.kill();
    let error = turns(&first, false).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Transport);
    assert!(error.to_string().contains(&format!("no connection to 127.0.0.1:{}", server.port())), "{error}");
    server.restart().unwrap();
    turns(&first, true).await;
    turns(&second, true).await;
    first.publish(Kept { number: 1 }).await.unwrap();
    first.publish(Seen { number: 2 }).await.unwrap();
    reaches(|| lines(&log, "keeps 1"), 2).await;
    reaches(|| lines(&log, "sees 2"), 2).await;
    first.shutdown().await.unwrap();
    assert_eq!(first.ready().err().map(|error| error.kind()), Some(ErrorKind::ShuttingDown));
    second.shutdown().await.unwrap();
}

/// The configuration of a server with one user, without the permissions that contain this.
fn config(printed: &str, without: Option<&str>) -> String {
    let kept = printed.lines().filter(|line| without.is_none_or(|part| !line.contains(part)));
    let kept: Vec<_> = kept.collect();
    let root = "{ user: root, password: secret }";
    format!("authorization {{ users: [ {root}, {{ user: shop, password: secret, {} }} ] }}", kept.join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_loses_a_permission_is_not_ready_until_it_has_it_again() {
    let log = Log::default();
    let open = ServerOptions { config: "authorization { user: shop, password: secret }".into(), ..Default::default() };
    let mut server = Server::start(&open).unwrap();
    let nats = Nats::builder().server(server.url()).user("shop", "secret").connect().await.unwrap();
    let printed = nats.permissions("catga").to_string();
    server.reload(&config(&printed, None)).unwrap();
    let build = |id: &str| {
        let builder = Mediator::builder().transport(nats.clone()).node(id).limits(limits()).discover(false);
        builder.state(log.clone()).handler(see).handler(keep).build()
    };
    let (first, second) = (build("node1").await.unwrap(), build("node2").await.unwrap());
    first.ready().unwrap();

    // The server ends a subscription at once.
    server.reload(&config(&printed, Some("catga.event."))).unwrap();
    let error = turns(&second, false).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("subscribe to `catga.event.catga-tests.Seen`"), "{error}");
    server.reload(&config(&printed, None)).unwrap();
    turns(&first, true).await;
    turns(&second, true).await;
    first.publish(Seen { number: 1 }).await.unwrap();
    reaches(|| lines(&log, "sees 1"), 2).await;

    // What a node may not publish is noticed when it tries.
    server.reload(&config(&printed, Some("catga.reliable."))).unwrap();
    let publishing = tokio::spawn({
        let first = first.clone();
        async move { first.publish(Kept { number: 2 }).await }
    });
    let error = turns(&first, false).await.unwrap();
    assert!(error.to_string().contains("publish to `catga.reliable.catga-tests.Kept`"), "{error}");
    server.reload(&config(&printed, None)).unwrap();
    turns(&first, true).await;
    publishing.await.unwrap().unwrap();
    reaches(|| lines(&log, "keeps 2"), 2).await;
    for mediator in [first, second] {
        mediator.shutdown().await.unwrap();
    }
}
