//! Callers that are no nodes, while nodes come and go.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use catga::{Command, handler};
use catga_tests::Log;
use serde::{Deserialize, Serialize};

use crate::support::{bare, node, server};

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
