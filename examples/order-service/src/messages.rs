//! What the nodes say to each other: one command, one query, two events.

use std::{fmt, num::NonZeroU32, str::FromStr};

use catga::{Command, Event, MessageId, Query};
use serde::{Deserialize, Serialize};

/// Asks for a new order.
#[derive(Command, Clone, Serialize, Deserialize)]
#[response(Placed)]
pub struct CreateOrder {
    pub product_id: String,
    pub quantity: NonZeroU32,
}

/// The answer to [`CreateOrder`], and what the client gets.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placed {
    pub order_id: OrderId,
    pub status: Status,
    pub processed_by: String,
}

/// Asks one node for an order: each node knows what it has seen.
#[derive(Query, Clone, Serialize, Deserialize)]
#[response(Option<Order>)]
pub struct FindOrder(pub OrderId);

/// An order was taken. At most once (QoS 0): a node that misses it learns of the order from [`OrderShipped`].
#[derive(Event, Clone, Serialize, Deserialize)]
pub struct OrderCreated {
    pub order: Order,
}

/// An order is on its way. At least once (QoS 1): every node gets it, also one that was away.
#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
pub struct OrderShipped {
    /// All of it, so that a node can answer for an order that it has never heard of.
    pub order: Order,
}

/// An order, as a node knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    pub order_id: OrderId,
    pub product_id: String,
    pub quantity: NonZeroU32,
    pub status: Status,
    pub processed_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking_number: Option<String>,
}

impl Order {
    /// The same order on its way.
    #[must_use]
    pub fn shipped(self) -> Self {
        let tracking_number = Some(format!("TRK-{:032X}", self.order_id.number.as_u128()));
        Self { status: Status::Shipped, tracking_number, ..self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    Created,
    Shipped,
}

/// The id of an order names the node that took it: `node1-019c2f...`, so that every node knows whom to ask.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrderId {
    node: String,
    number: MessageId,
}

impl OrderId {
    /// The id of the order that a command asked for: a repeat of the command gives the same id.
    pub fn new(node: &str, command: MessageId) -> Self {
        Self { node: node.to_owned(), number: command }
    }

    /// The node that took the order.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The half of its number that tells orders apart.
    pub fn low_half(&self) -> u64 {
        self.number.as_u128() as u64
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:032x}", self.node, self.number.as_u128())
    }
}

/// A text that is not the id of an order.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAnOrderId;

impl fmt::Display for NotAnOrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the id of an order")
    }
}

impl FromStr for OrderId {
    type Err = NotAnOrderId;

    fn from_str(text: &str) -> Result<Self, NotAnOrderId> {
        let (node, number) = text.rsplit_once('-').ok_or(NotAnOrderId)?;
        // One order, one text: other ways to write the number are not ids.
        let digits = number.len() == 32 && number.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let number = u128::from_str_radix(number, 16).map_err(|_| NotAnOrderId)?;
        if is_node_id(node) && digits { Ok(Self::new(node, MessageId::from_u128(number))) } else { Err(NotAnOrderId) }
    }
}

/// Whether a node can have this id. What a client wrote is checked before it is used as an address.
pub fn is_node_id(text: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    (1..=64).contains(&text.len()) && text.chars().all(fits)
}

impl TryFrom<String> for OrderId {
    type Error = NotAnOrderId;

    fn try_from(text: String) -> Result<Self, NotAnOrderId> {
        text.parse()
    }
}

impl From<OrderId> for String {
    fn from(id: OrderId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_an_order_reads_back_from_its_text() {
        for node in ["node1", "till-7", "a.b_c"] {
            let id = OrderId::new(node, MessageId::new());
            assert_eq!(id.to_string().parse(), Ok(id.clone()));
            assert_eq!(id.node(), node);
        }
    }

    #[test]
    fn what_is_not_the_id_of_an_order_is_refused() {
        let number = format!("{:032x}", 10);
        let others = [
            number.clone(),
            format!("-{number}"),
            format!("node1-{}", &number[1..]),
            format!("node1-{}", number.to_uppercase()),
            format!("node1-+{}", &number[1..]),
            format!("node1-{number} "),
            format!("no de-{number}"),
            format!("*-{number}"),
            format!("{}-{number}", "n".repeat(65)),
        ];
        for text in others {
            assert_eq!(text.parse::<OrderId>(), Err(NotAnOrderId), "{text}");
        }
    }
}
