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

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_shuts_down_answers_every_caller_that_found_it() {
    let (server, log) = (server(), Log::default());
    let second = node(&server, "node2", &log).await.handler(repeat).build().await.unwrap();
    let (wrong, right, stop) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut callers = Vec::new();
    for number in 0..16_u32 {
        let (client, wrong, right, stop) = (bare(&server).await, wrong.clone(), right.clone(), stop.clone());
        callers.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let request = format!(r#"{{"number":{number}}}"#);
                let answer = client.request("catga.request.catga-tests.Repeat", request.into()).await;
                let good = answer.is_ok_and(|answer| answer.payload[..] == *number.to_string().as_bytes());
                if good { &right } else { &wrong }.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for _ in 0..5 {
        let first = node(&server, "node1", &log).await.handler(repeat).build().await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        first.shutdown().await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(right.load(Ordering::Relaxed) > 100, "{right:?}");
    assert_eq!(wrong.load(Ordering::Relaxed), 0, "of {right:?}");
    second.shutdown().await.unwrap();
}
