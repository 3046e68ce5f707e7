//! Callers that are no nodes: what their headers say counts, and so it does while nodes come and go.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_nats::{HeaderMap, Message};
use catga::{Command, State, handler};
use catga_tests::Log;
use serde::{Deserialize, Serialize};

use crate::support::{bare, node, reaches, server};

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(u32)]
struct Repeat {
    number: u32,
}

#[handler]
async fn repeat(command: Repeat) -> u32 {
    tokio::time::sleep(Duration::from_millis(5)).await;
    command.number
}

/// How the requests of all callers ended.
#[derive(Debug, Default)]
struct Ends {
    answered: AtomicUsize,
    refused: AtomicUsize,
    silent: AtomicUsize,
}

const SHUTDOWNS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_shuts_down_answers_the_callers_that_found_it() {
    let (server, log) = (server(), Log::default());
    let second = node(&server, "node2", &log).await.handler(repeat).build().await.unwrap();
    let (ends, stop) = (Arc::new(Ends::default()), Arc::new(AtomicBool::new(false)));
    let mut callers = Vec::new();
    for number in 0..16_u32 {
        let (client, ends, stop) = (bare(&server).await, ends.clone(), stop.clone());
        callers.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let request = async_nats::Request::new().timeout(Some(Duration::from_secs(3)));
                let request = request.payload(format!(r#"{{"number":{number}}}"#).into());
                let end = match client.send_request("catga.request.catga-tests.Repeat", request).await {
                    Ok(answer) if answer.payload[..] == *number.to_string().as_bytes() => &ends.answered,
                    Ok(_) => &ends.refused,
                    Err(_) => &ends.silent,
                };
                end.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for _ in 0..SHUTDOWNS {
        let first = node(&server, "node1", &log).await.handler(repeat).build().await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        first.shutdown().await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(ends.answered.load(Ordering::Relaxed) > 100, "{ends:?}");
    assert_eq!(ends.refused.load(Ordering::Relaxed), 0, "{ends:?}");
    // The server may hand one to a subscription in the moment in which that ends.
    assert!(ends.silent.load(Ordering::Relaxed) <= SHUTDOWNS, "{ends:?}");
    second.shutdown().await.unwrap();
}

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(u32)]
struct Charge {
    cents: u32,
}

#[handler(concurrency = 1)]
async fn charge(command: Charge, State(log): State<Log>) -> u32 {
    log.add(format!("charged {}", command.cents));
    tokio::time::sleep(Duration::from_millis(600)).await;
    command.cents
}

/// Asks with one header.
async fn ask(client: &async_nats::Client, cents: u32, name: &str, value: &str) -> Message {
    let mut headers = HeaderMap::new();
    headers.insert(name, value);
    let request = format!(r#"{{"cents":{cents}}}"#);
    client.request_with_headers("catga.request.catga-tests.Charge", headers, request.into()).await.unwrap()
}

/// The code of a refusal, or nothing.
fn code(answer: &Message) -> &str {
    answer.headers.as_ref().and_then(|headers| headers.get("Nats-Service-Error-Code")).map_or("", |code| code.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_under_the_key_of_a_caller_is_answered_and_not_run_again() {
    let (server, log) = (server(), Log::default());
    let mediator = node(&server, "node1", &log).await.handler(charge).build().await.unwrap();
    let client = bare(&server).await;
    let key = "Idempotency-Key";
    let (first, second) = tokio::join!(ask(&client, 5, key, "order-1"), ask(&client, 5, key, "order-1"));
    assert_eq!((&first.payload[..], &second.payload[..]), (&b"5"[..], &b"5"[..]));
    assert_eq!(code(&ask(&client, 6, key, "order-1").await), "409", "the key of another content");
    assert_eq!(&ask(&client, 6, key, "order-2").await.payload[..], b"6");
    assert_eq!(log.lines(), ["charged 5", "charged 6"]);
    mediator.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_begun_when_a_caller_gives_up_is_not_begun() {
    let (server, log) = (server(), Log::default());
    let mediator = node(&server, "node1", &log).await.handler(charge).build().await.unwrap();
    let (busy, client) = (bare(&server).await, bare(&server).await);
    let first = tokio::spawn(async move { ask(&busy, 1, "Catga-Timeout", "5000").await });
    reaches(|| log.len(), 1).await;
    // One at a time, and the first has some 400 ms to go.
    assert_eq!(code(&ask(&client, 2, "Catga-Timeout", "20").await), "504");
    assert_eq!(&first.await.unwrap().payload[..], b"1");
    mediator.shutdown().await.unwrap();
    assert_eq!(log.lines(), ["charged 1"]);
}
