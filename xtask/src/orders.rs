//! A client of the order service.

use std::time::{Duration, Instant};

use xtask::{http, shell::Result};

/// An order as the service answered it.
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) processed_by: String,
    pub(crate) took: Duration,
}

/// Orders something of a node.
pub(crate) fn order(port: u16) -> Result<Order> {
    let started = Instant::now();
    let answer = http::send(
        port,
        &http::Request {
            method: "POST",
            path: "/orders",
            headers: vec!["Content-Type: application/json"],
            body: r#"{"productId":"tea","quantity":2}"#,
        },
    )?;
    let took = started.elapsed();
    match (answer.status, answer.field("orderId"), answer.field("processedBy")) {
        (201, Some(id), Some(by)) => Ok(Order { id: id.to_owned(), processed_by: by.to_owned(), took }),
        (status, ..) => Err(format!("an order was answered with {status}: {}", answer.body)),
    }
}

/// Orders one after the other.
pub(crate) fn place(port: u16, orders: usize) -> Result<Vec<Order>> {
    (0..orders).map(|_| order(port)).collect()
}

/// How many of these orders a node answers for.
pub(crate) fn answers_for(port: u16, ids: &[String]) -> usize {
    let found = |id: &&String| http::get(port, &format!("/orders/{id}")).is_ok_and(|answer| answer.status == 200);
    ids.iter().filter(found).count()
}

/// How many nodes a node counts as online.
pub(crate) fn online(port: u16) -> Option<usize> {
    http::get(port, "/health").ok()?.field("onlineNodes")?.parse().ok()
}
