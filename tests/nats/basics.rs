//! What every application does: events to all nodes, reliable events, requests.

use catga::{Command, Context, Event, Failure, State, handler};
use catga_tests::Log;
use serde::{Deserialize, Serialize};

use crate::support::{node, reaches, server};

#[derive(Event, Clone, Serialize, Deserialize)]
struct Seen {
    order: u32,
}

#[handler]
async fn note_seen(event: Seen, State(log): State<Log>, ctx: Context) {
    log.add(format!("{} saw {}", ctx.node(), event.order));
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Shipped {
    order: u32,
}

#[handler]
async fn note_shipped(event: Shipped, State(log): State<Log>, ctx: Context) {
    log.add(format!("{} ships {}", ctx.node(), event.order));
}

#[handler(group = "mail")]
async fn mail_shipped(event: Shipped, State(log): State<Log>) {
    log.add(format!("mail {}", event.order));
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Flaky {
    fails: u32,
}

#[handler(backoff = "50ms")]
async fn fail_first(event: Flaky, State(log): State<Log>, ctx: Context) -> Result<(), Failure> {
    log.add(format!("run {}", ctx.attempt()));
    match ctx.attempt() <= event.fails {
        true => Err(Failure::new("flaky", "not yet")),
        false => Ok(()),
    }
}

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(String)]
struct Place {
    order: u32,
}

#[handler]
async fn place(command: Place, ctx: Context) -> String {
    ctx.emit(Shipped { order: command.order });
    ctx.emit(Seen { order: command.order });
    format!("{} placed {}", ctx.node(), command.order)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_application_works() {
    let (server, log) = (server(), Log::default());
    let mut nodes = Vec::new();
    for id in ["node1", "node2", "node3"] {
        let builder = node(&server, id, &log).await;
        let builder = builder.handler(note_seen).handler(note_shipped).handler(mail_shipped);
        nodes.push(if id == "node1" {
            builder.build().await.unwrap()
        } else {
            builder.handler(place).build().await.unwrap()
        });
    }
    for order in 0..100 {
        let answer = nodes[0].send(Place { order }).await.unwrap();
        assert!(answer.ends_with(&format!("placed {order}")), "{answer}");
    }
    reaches(|| log.lines().iter().filter(|line| line.contains("ships")).count(), 300).await;
    reaches(|| log.lines().iter().filter(|line| line.contains("saw")).count(), 300).await;
    reaches(|| log.lines().iter().filter(|line| line.contains("mail")).count(), 100).await;
    for node in nodes {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_is_repeated_and_then_a_dead_letter() {
    let (server, log) = (server(), Log::default());
    let mediator = node(&server, "node1", &log).await.handler(fail_first).build().await.unwrap();
    mediator.publish(Flaky { fails: 2 }).await.unwrap();
    reaches(|| log.len(), 3).await;
    mediator.shutdown().await.unwrap();
}
