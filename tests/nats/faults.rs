//! What goes wrong with servers, streams and messages, and what becomes of the messages.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::Duration,
};

use catga::{Context, Event, State, handler};
use catga_tests::Log;
use serde::{Deserialize, Serialize};
use xtask::nats::Server;

use crate::support::{bare, lines, node, reaches, server};

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Noted {
    number: u32,
}

#[handler]
async fn note(event: Noted, State(log): State<Log>, ctx: Context) {
    log.add(format!("{} {} run {}", ctx.node(), event.number, ctx.attempt()));
}

/// Publishes bytes with headers that no client writes.
fn publish_raw(server: &Server, subject: &str, headers: &[u8], payload: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let total = headers.len() + payload.len();
    stream.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n").unwrap();
    stream.write_all(format!("HPUB {subject} {} {total}\r\n", headers.len()).as_bytes()).unwrap();
    stream.write_all(headers).unwrap();
    stream.write_all(payload).unwrap();
    stream.write_all(b"\r\nPING\r\n").unwrap();
    // The server answers when it has taken what came before.
    let mut said = BufReader::new(stream).lines();
    assert!(said.any(|line| line.unwrap() == "PONG"), "the server refused the bytes");
}

async fn survives_headers(headers: &[u8]) {
    let (server, log) = (server(), Log::default());
    let mediator = node(&server, "node1", &log).await.handler(note).build().await.unwrap();
    mediator.publish(Noted { number: 1 }).await.unwrap();
    reaches(|| log.len(), 1).await;
    publish_raw(&server, "catga.reliable.catga-tests.Noted", headers, br#"{"number":666}"#);
    for number in 2..10 {
        let published = mediator.publish(Noted { number }).await;
        assert!(published.is_ok(), "{published:?}");
    }
    for number in 2..10 {
        let text = format!("node1 {number} run 1");
        reaches(|| lines(&log, &text), 1).await;
    }
    assert_eq!(lines(&log, "666"), 0);
    let letters = async {
        loop {
            if let Ok(letters) = mediator.dead_letters().list(None, 10).await
                && !letters.is_empty()
            {
                return letters;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let letters = tokio::time::timeout(Duration::from_secs(120), letters).await.unwrap();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0].failure.code(), "deliveries");
    mediator.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_ends_the_connection_ends_as_a_dead_letter() {
    survives_headers(b"NATS/1.0\r\nX-Bad: \xff\xfe\r\n\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_kills_the_client_ends_as_a_dead_letter() {
    survives_headers(b"NATS/1.0\r\nX-Bad: a\rb\r\n\r\n").await;
}

pub async fn a_consumer_that_is_deleted_is_made_anew_behind_what_is_done(server: Server) {
    let log = Log::default();
    let mediator = node(&server, "node1", &log).await.handler(note).build().await.unwrap();
    for number in 0..20 {
        mediator.publish(Noted { number }).await.unwrap();
    }
    reaches(|| log.len(), 20).await;
    let jetstream = async_nats::jetstream::new(bare(&server).await);
    let stream = jetstream.get_stream("catga-events").await.unwrap();
    assert!(stream.delete_consumer("n~node1").await.unwrap().success);
    for number in 20..40 {
        mediator.publish(Noted { number }).await.unwrap();
    }
    reaches(|| log.len(), 40).await;
    mediator.shutdown().await.unwrap();
}

pub async fn a_stream_that_is_deleted_is_made_anew(server: Server) {
    let log = Log::default();
    let mediator = node(&server, "node1", &log).await.handler(note).build().await.unwrap();
    for number in 0..20 {
        mediator.publish(Noted { number }).await.unwrap();
    }
    reaches(|| log.len(), 20).await;
    let jetstream = async_nats::jetstream::new(bare(&server).await);
    jetstream.delete_stream("catga-events").await.unwrap();
    let mut stored = 0;
    for number in 20..40 {
        stored += usize::from(mediator.publish(Noted { number }).await.is_ok());
    }
    assert!(stored > 0, "the stream comes back");
    reaches(|| log.len(), 20 + stored).await;
    mediator.shutdown().await.unwrap();
}

pub async fn a_server_that_is_killed_loses_nothing_that_was_stored(mut server: Server) {
    let log = Log::default();
    let mediator = node(&server, "node1", &log).await.handler(note).build().await.unwrap();
    let other = node(&server, "node2", &log).await.handler(note).build().await.unwrap();
    let (sender, mut stored) = tokio::sync::mpsc::channel(10_000);
    let publishing = tokio::spawn({
        let mediator = mediator.clone();
        async move {
            for number in 0..2_000 {
                if mediator.publish(Noted { number }).await.is_ok() {
                    sender.send(number).await.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    while log.len() < 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.kill();
    // For so long it is away.
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.restart().unwrap();
    publishing.await.unwrap();
    let mut numbers = Vec::new();
    while let Ok(number) = stored.try_recv() {
        numbers.push(number);
    }
    assert!(numbers.len() > 1_000, "{} of 2000 were stored", numbers.len());
    let missing = || {
        let lines = log.lines();
        let missing =
            |node: &str| numbers.iter().filter(|number| !lines.contains(&format!("{node} {number} run 1"))).count();
        missing("node1") + missing("node2")
    };
    for _ in 0..100 {
        if missing() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(missing(), 0, "of {}", numbers.len());
    mediator.shutdown().await.unwrap();
    other.shutdown().await.unwrap();
}
