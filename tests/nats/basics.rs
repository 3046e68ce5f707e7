//! What every application does: events to all nodes, reliable events, requests.

use catga::{Command, Context, ErrorKind, Event, Failure, Outcome, State, handler};
use catga_tests::Log;
use serde::{Deserialize, Serialize};
use xtask::nats::Server;

use crate::support::{lines, node, reaches};

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

pub async fn a_whole_application_works(server: Server) {
    let log = Log::default();
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

pub async fn a_failed_run_is_repeated_and_then_a_dead_letter(server: Server) {
    let log = Log::default();
    let mediator = node(&server, "node1", &log).await.handler(fail_first).build().await.unwrap();
    mediator.publish(Flaky { fails: 2 }).await.unwrap();
    reaches(|| log.len(), 3).await;
    mediator.shutdown().await.unwrap();
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Paid {
    order: u32,
}

#[handler(attempts = 2)]
async fn book(event: Paid, State(log): State<Log>, ctx: Context) -> Result<(), Failure> {
    let open = log.count("the books are open") > 0;
    log.add(format!("{} books {} run {}", ctx.node(), event.order, ctx.attempt()));
    if open { Ok(()) } else { Err(Failure::new("closed", "the books are closed")) }
}

pub async fn a_dead_letter_is_listed_replayed_and_gone(server: Server) {
    let log = Log::default();
    let mediator = node(&server, "node1", &log).await.handler(book).build().await.unwrap();
    for order in 0..3 {
        mediator.publish(Paid { order }).await.unwrap();
    }
    let letters = mediator.dead_letters();
    let mut all = Vec::new();
    for _ in 0..100 {
        all = letters.list(None, 10).await.unwrap();
        if all.len() == 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(all.iter().all(|letter| letter.attempts == 2 && letter.failure.code() == "closed"), "{all:?}");
    log.add("the books are open");
    // Each is deleted before the list goes on behind it.
    let mut after = None;
    while let Some(letter) = letters.list(after, 1).await.unwrap().pop() {
        letters.replay(letter.id).await.unwrap();
        after = Some(letter.id);
    }
    reaches(|| lines(&log, "node1 books"), 9).await;
    assert!(letters.list(None, 10).await.unwrap().is_empty());
    assert!(letters.get(all[0].id).await.is_err());
    mediator.shutdown().await.unwrap();
}

pub async fn a_node_that_comes_back_gets_what_it_missed(server: Server) {
    let log = Log::default();
    let first = node(&server, "node1", &log).await.handler(note_shipped).handler(note_seen).build().await.unwrap();
    let second = node(&server, "node2", &log).await.handler(note_shipped).handler(note_seen).build().await.unwrap();
    second.shutdown().await.unwrap();
    for order in 0..50 {
        first.publish(Shipped { order }).await.unwrap();
        first.publish(Seen { order }).await.unwrap();
    }
    reaches(|| lines(&log, "node1 ships"), 50).await;
    let second = node(&server, "node2", &log).await.handler(note_shipped).handler(note_seen).build().await.unwrap();
    reaches(|| lines(&log, "node2 ships"), 50).await;
    assert_eq!(lines(&log, "node2 saw"), 0, "what is sent at most once is gone");
    // What leaves for good is not waited for.
    second.leave_for_good().await.unwrap();
    first.publish(Shipped { order: 50 }).await.unwrap();
    reaches(|| lines(&log, "node1 ships"), 51).await;
    let second = node(&server, "node2", &log).await.handler(note_shipped).build().await.unwrap();
    reaches(|| lines(&log, "node2 ships"), 50).await;
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Report {
    text: String,
}

/// What the server cannot carry is refused before it is sent, with both numbers; what is just below it travels.
pub async fn what_is_larger_than_the_server_carries_is_refused(server: Server) {
    let log = Log::default();
    let mediator = node(&server, "node1", &log).await.build().await.unwrap();
    let error = mediator.publish(Report { text: "x".repeat(2 << 20) }).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::TooLarge, Outcome::NotStarted));
    let text = error.to_string();
    assert!(text.contains("2097163") && text.contains("1015808"), "{text}");
    mediator.publish(Report { text: "x".repeat(1_015_808 - 11) }).await.unwrap();
    mediator.publish_all((0..8).map(|_| Report { text: "x".repeat(600_000) })).await.unwrap();
    mediator.shutdown().await.unwrap();
}
