//! The messages of the rows, about 70 bytes of JSON each; handlers that count them.

use catga::{Event, Query, State, handler};
use serde::{Deserialize, Serialize};

use super::{row::ASLEEP, tally::Tally};

/// About how many bytes of JSON stand beside the product.
const BESIDE: usize = 48;

/// What every message says.
#[derive(Clone, Serialize, Deserialize)]
pub struct Order {
    /// Which one it is.
    pub number: u64,
    product: String,
    quantity: u32,
}

impl Order {
    /// One with this number; a size is about how many bytes of JSON it has.
    pub fn new(number: u64, size: Option<usize>) -> Self {
        let product = size.map_or_else(|| "first flush darjeeling".to_owned(), |size| "x".repeat(size - BESIDE));
        Self { number, product, quantity: 2 }
    }
}

/// An event of QoS 0.
#[derive(Event, Clone, Serialize, Deserialize)]
pub struct Seen(pub Order);

/// A reliable event.
#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
pub struct Placed(pub Order);

/// A request; the twin promises no more than a query does.
#[derive(Query, Clone, Serialize, Deserialize)]
#[response(Order)]
pub struct Ask(pub Order);

/// Counts an event of QoS 0.
#[handler]
pub async fn seen(event: Seen, State(tally): State<Tally>) {
    tally.handled(event.0.number);
}

/// Counts a reliable event.
#[handler]
pub async fn placed(event: Placed, State(tally): State<Tally>) {
    tally.handled(event.0.number);
}

/// Counts a request and gives it back.
#[handler]
pub async fn answer(ask: Ask, State(tally): State<Tally>) -> Order {
    tally.handled(ask.0.number);
    ask.0
}

/// Counts a request, sleeps, and gives it back. Its limit lets all callers sleep at once, as the tasks of the twin do.
#[handler(concurrency = 256)]
pub async fn answer_asleep(ask: Ask, State(tally): State<Tally>) -> Order {
    tally.handled(ask.0.number);
    tokio::time::sleep(ASLEEP).await;
    ask.0
}
