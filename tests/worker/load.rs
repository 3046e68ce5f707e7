//! Requests at a steady rate, and what became of each.

use std::time::{Duration, Instant};

use catga::{Mediator, SendOptions};

use crate::{
    handlers::{Answer, Ask, Do},
    journal::Journal,
};

/// How often requests are sent: those of this time together.
const TICK: Duration = Duration::from_millis(5);
/// Of so many requests one has a key. All that have even numbers are commands, the others queries.
const KEYED: u32 = 10;

/// Sends so many requests, at this rate as far as the machine can.
pub(crate) async fn run(mediator: Mediator, journal: Journal, rate: u32, requests: u32) {
    let began = Instant::now();
    let mut tick = tokio::time::interval(TICK);
    let (mut sent, mut under_way) = (0, tokio::task::JoinSet::new());
    while sent < requests {
        tick.tick().await;
        let due = (began.elapsed().as_secs_f64() * f64::from(rate)) as u32;
        while sent < due.min(requests) {
            under_way.spawn(send(mediator.clone(), journal.clone(), sent));
            sent += 1;
        }
    }
    let took = began.elapsed();
    while under_way.join_next().await.is_some() {}
    journal.line(format!("sent {requests} in {} ms", took.as_millis()));
}

async fn send(mediator: Mediator, journal: Journal, number: u32) {
    let began = Instant::now();
    let (kind, result): (_, Result<Answer, catga::Error>) = match number % KEYED {
        0 => {
            let options = SendOptions { key: Some(format!("key-{number}")), ..SendOptions::default() };
            ("keyed", mediator.send_with(Do { number }, options).await)
        }
        2 | 4 | 6 | 8 => ("command", mediator.send(Do { number }).await),
        _ => ("query", mediator.send(Ask { number }).await),
    };
    journal.line(match result {
        Ok(Answer { number: answered, node }) => format!("answered {number} {kind} {answered} {node}"),
        Err(error) => {
            let (outcome, error_kind, took) = (error.outcome(), error.kind(), began.elapsed().as_millis());
            format!("failed {number} {kind} {outcome:?} {error_kind:?} after {took} ms: {error}")
        }
    });
}
