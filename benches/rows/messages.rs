//! The messages of the rows, about 70 bytes of JSON each; handlers that count them.

use catga::{Event, Query, State, handler};
use serde::{Deserialize, Serialize};

use crate::tally::Tally;

/// What every message says.
#[derive(Clone, Serialize, Deserialize)]
pub struct Order {
    /// Which one it is.
    pub number: u64,
    product: String,
    quantity: u32,
}

impl Order {
    /// One with this number.
    pub fn new(number: u64) -> Self {
        Self { number, product: "first flush darjeeling".to_owned(), quantity: 2 }
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
