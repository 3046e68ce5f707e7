//! Messages and handlers in every shape.
#![forbid(unsafe_code)]
#![deny(missing_docs, warnings, unused_qualifications)]

use catga::{Command, Context, Event, Query, State, handler};
use serde::{Deserialize, Serialize};

/// Places.
#[derive(Command, Clone, Serialize, Deserialize)]
#[response(u64)]
pub struct PlaceOrder {
    /// What.
    pub sku: String,
}

#[derive(Query, Clone, Serialize, Deserialize)]
#[response(Option<String>)]
struct Status(u64);

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
enum Changed {
    Placed,
    Cancelled { reason: String },
}

#[derive(Clone)]
struct Shop;

#[handler]
async fn place_order(order: PlaceOrder, State(_shop): State<Shop>, _: Context) -> Result<u64, std::fmt::Error> {
    Ok(order.sku.len() as u64)
}

#[handler(group = "mail", attempts = 3, backoff = "100ms", timeout = "5s", concurrency = 8, name = "orders.place")]
async fn changed(_: Changed) {}

impl Shop {
    async fn helper(&self) -> String {
        "tea".into()
    }
}

#[handler]
impl Shop {
    async fn status(&self, Status(_): Status) -> Option<String> {
        Some(self.helper().await)
    }

    #[handler(group = "again")]
    async fn changed(&self, mut event: Changed, _: Context) {
        event = match event {
            Changed::Placed => Changed::Cancelled { reason: String::new() },
            Changed::Cancelled { reason } if reason.is_empty() => Changed::Placed,
            other => other,
        };
        drop(event);
    }
}

fn main() {
    let _ = place_order;
}
