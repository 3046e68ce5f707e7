//! Programs that are no nodes: they send events in every form, ask, and read what nodes send.

use std::time::Duration;

use async_nats::HeaderMap;
use catga::{Command, Context, Event, Failure, State, handler};
use catga_tests::Log;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use xtask::nats::Server;

use crate::support::{bare, heard, lines, node, reaches, server};

#[derive(Event, Clone, Serialize, Deserialize)]
struct Rumour {
    number: u32,
}

#[handler]
async fn hear(event: Rumour, State(log): State<Log>, ctx: Context) {
    log.add(format!("heard {} tenant {:?}", event.number, ctx.headers().get("tenant")));
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Fact {
    number: u32,
}

#[handler]
async fn keep(event: Fact, State(log): State<Log>, ctx: Context) {
    log.add(format!("kept {} id {}", event.number, ctx.id()));
}

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(u32)]
struct Double {
    number: u32,
}

#[handler]
async fn double(command: Double) -> Result<u32, Failure> {
    command.number.checked_mul(2).ok_or_else(|| Failure::new("too_large", "there is no such number").details("u32"))
}

const RUMOUR: &str = "catga.event.catga-tests.Rumour";
const FACT: &str = "catga.reliable.catga-tests.Fact";
const DOUBLE: &str = "catga.request.catga-tests.Double";

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.insert(*name, *value);
    }
    headers
}

pub async fn events_of_other_programs_are_handled_in_every_form(server: Server) {
    let log = Log::default();
    let mediator = node(&server, "node1", &log).await.handler(hear).handler(keep).build().await.unwrap();
    let client = bare(&server).await;
    let id = "0b0e8a0e-6f0a-4a53-9a4c-2f1a64f0a001";
    let structured = |number: u32| {
        json!({ "specversion": "1.0", "id": id, "source": "/billing", "type": "anything", "data": { "number": number } }).to_string()
    };
    let binary = headers(&[
        ("ce-specversion", "1.0"),
        ("ce-id", id),
        ("ce-source", "/billing"),
        ("ce-type", "x"),
        ("tenant", "acme"),
    ]);
    client.publish(RUMOUR, r#"{"number":1}"#.into()).await.unwrap();
    client.publish(RUMOUR, structured(2).into()).await.unwrap();
    client.publish_with_headers(RUMOUR, binary.clone(), r#"{"number":3}"#.into()).await.unwrap();
    client.publish(RUMOUR, "no json".into()).await.unwrap();
    client.publish(RUMOUR, r#"{"number":4}"#.into()).await.unwrap();
    reaches(|| lines(&log, "heard"), 4).await;
    assert_eq!(lines(&log, "heard 3 tenant Some(\"acme\")"), 1);

    let jetstream = async_nats::jetstream::new(client.clone());
    for (number, expected) in [(1, 1), (2, 2)] {
        // The second one has the same id, and is another message of another content: it is known and left alone.
        let payload = if number == 1 { r#"{"number":1}"#.to_owned() } else { structured(2) };
        jetstream.publish(FACT, payload.into()).await.unwrap().await.unwrap();
        reaches(|| lines(&log, "kept"), expected).await;
    }
    jetstream.publish(FACT, structured(2).into()).await.unwrap().await.unwrap();
    jetstream.publish(FACT, "no json".into()).await.unwrap().await.unwrap();
    jetstream.publish_with_headers(FACT, binary, r#"{"number":3}"#.into()).await.unwrap().await.unwrap();
    jetstream.publish(FACT, r#"{"number":4}"#.into()).await.unwrap().await.unwrap();
    reaches(|| lines(&log, "kept 4"), 1).await;
    assert_eq!(lines(&log, "kept 2"), 1, "its id was seen before");
    assert_eq!(lines(&log, "kept 3"), 0, "it has the id of another one");
    let letters = || async { mediator.dead_letters().list(None, 10).await.unwrap() };
    for _ in 0..100 {
        if !letters().await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(letters().await.len(), 1, "what cannot be read");
    mediator.shutdown().await.unwrap();
}

pub async fn a_lone_event_is_a_cloud_event_that_every_program_reads(server: Server) {
    let log = Log::default();
    let mediator = node(&server, "node1", &log).await.build().await.unwrap();
    let client = bare(&server).await;
    let mut subscriber = client.subscribe("catga.event.>").await.unwrap();
    let mut stored = client.subscribe("catga.reliable.>").await.unwrap();
    heard(&client).await;
    mediator.publish(Rumour { number: 7 }).await.unwrap();
    mediator.publish(Fact { number: 8 }).await.unwrap();
    for (subscriber, number, name) in [(&mut subscriber, 7, "catga-tests.Rumour"), (&mut stored, 8, "catga-tests.Fact")]
    {
        let message = tokio::time::timeout(Duration::from_secs(5), subscriber.next()).await.unwrap().unwrap();
        let event: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["type"], name);
        assert_eq!(event["data"]["number"], number);
    }
    // What leaves together is a frame.
    mediator.publish_all((0..50).map(|number| Fact { number })).await.unwrap();
    let message = tokio::time::timeout(Duration::from_secs(5), stored.next()).await.unwrap().unwrap();
    assert_eq!(message.payload[0], 0xCA);
    mediator.shutdown().await.unwrap();
}

pub async fn other_programs_ask_and_are_answered(server: Server) {
    let log = Log::default();
    let first = node(&server, "node1", &log).await.handler(double).build().await.unwrap();
    let second = node(&server, "node2", &log).await.handler(double).build().await.unwrap();
    let client = bare(&server).await;
    for number in 0..20_u32 {
        let answer = client.request(DOUBLE, format!(r#"{{"number":{number}}}"#).into()).await.unwrap();
        assert_eq!(&answer.payload[..], (2 * number).to_string().as_bytes());
    }
    let refused = client.request(DOUBLE, format!(r#"{{"number":{}}}"#, u32::MAX).into()).await.unwrap();
    assert_eq!(refused.headers.as_ref().unwrap().get("Nats-Service-Error-Code").unwrap().as_str(), "422");
    let body: Value = serde_json::from_slice(&refused.payload).unwrap();
    assert_eq!(body["error"]["code"], "too_large");
    assert_eq!(body["error"]["details"], "u32");
    let unread = client.request(DOUBLE, r#"{"number":"seven"}"#.into()).await.unwrap();
    assert_eq!(unread.headers.as_ref().unwrap().get("Nats-Service-Error-Code").unwrap().as_str(), "400");
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
    let nobody = client.request(DOUBLE, r#"{"number":1}"#.into()).await.unwrap_err();
    assert_eq!(nobody.kind(), async_nats::RequestErrorKind::NoResponders);
}

pub async fn an_answer_never_becomes_a_command_to_the_server(server: Server) {
    let log = Log::default();
    let mediator = node(&server, "node1", &log).await.handler(double).handler(keep).build().await.unwrap();
    let client = bare(&server).await;
    for reply in ["$JS.API.STREAM.DELETE.catga-events", "catga.node.node1.request", "_INBOX.>"] {
        client.publish_with_reply(DOUBLE, reply, r#"{"number":1}"#.into()).await.unwrap();
    }
    // The same in a frame, whose source is where the answer goes.
    let mut frame = vec![0xCA, 1, 1, 1];
    frame.extend([0; 16]);
    client.publish("catga.node.node1.request", frame.into()).await.unwrap();
    heard(&client).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    mediator.publish(Fact { number: 1 }).await.unwrap();
    reaches(|| lines(&log, "kept 1"), 1).await;
    let jetstream = async_nats::jetstream::new(client);
    assert_eq!(jetstream.get_stream("catga-events").await.unwrap().cached_info().state.last_sequence, 1);
    mediator.shutdown().await.unwrap();
}

/// The client of another language, from PyPI.
#[tokio::test(flavor = "multi_thread")]
async fn a_python_program_sends_asks_and_reads() {
    let (server, log) = (server(), Log::default());
    let mediator =
        node(&server, "node1", &log).await.handler(double).handler(keep).handler(hear).build().await.unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/nats/foreign.py");
    let ran = tokio::process::Command::new("python3").arg(script).arg(server.url()).kill_on_drop(true).output();
    let output = async {
        // It waits for the lone events that are published here.
        for number in 0..1_000 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            mediator.publish(Rumour { number: 1_000 + number }).await.unwrap();
        }
    };
    let ran = tokio::select! {
        ran = ran => ran.unwrap(),
        () = output => panic!("the script does not end"),
    };
    let text = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{text}");
    reaches(|| lines(&log, "kept 41"), 1).await;
    reaches(|| lines(&log, "heard 42"), 1).await;
    mediator.shutdown().await.unwrap();
}
