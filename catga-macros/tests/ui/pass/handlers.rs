//! Handlers of every shape.
#![forbid(unsafe_code)]
#![deny(missing_docs, warnings, unused_qualifications, unreachable_pub, rust_2018_idioms)]

use catga::{Command, Context, Event, Failure, State, handler};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(u64)]
struct PlaceOrder {
    sku: String,
}

#[derive(Event, Clone, Serialize, Deserialize)]
struct OrderPlaced(u64);

type Shop = Arc<dyn Fn(&str) -> u64 + Send + Sync>;

/// A pattern, a state behind an alias, an ignored context.
#[handler]
async fn place_order(order: PlaceOrder, State(shop): State<Shop>, _: Context) -> Result<u64, Failure> {
    Ok(shop(&order.sku))
}

/// The reply itself, without a `Result`.
#[handler(name = "orders.place-again")]
async fn place_again(PlaceOrder { sku }: PlaceOrder) -> u64 {
    sku.len() as u64
}

#[handler(group = "mail", attempts = 3, backoff = "100ms", timeout = "5s", concurrency = 8)]
pub(crate) async fn mail(mut event: OrderPlaced) {
    event.0 += 1;
    drop(event);
}

/// As many extractors as there can be.
#[handler]
#[allow(clippy::too_many_arguments)]
async fn all(
    _: OrderPlaced,
    a: Context,
    b: Context,
    c: Context,
    d: Context,
    e: Context,
    f: Context,
    g: State<&'static str>,
    h: State<fn(&str) -> u8>,
) -> std::io::Result<()> {
    let _ = (a, b, c, d, e, f, g, h);
    Ok(())
}

#[handler]
#[cfg(any())]
async fn absent(_: ThereIsNoSuchType) {}

#[handler]
#[expect(unused_variables, reason = "it is never read")]
async fn attributed(event: OrderPlaced) {
    let unused = 1;
}

/// The attribute works in a macro of the user's own.
macro_rules! handlers {
    ($($name:ident: $message:ty),*) => {
        $(#[handler]
        async fn $name(_: $message) -> Result<(), Failure> {
            Ok(())
        })*
    };
}

handlers!(first: OrderPlaced, second: OrderPlaced);

fn main() {
    #[handler]
    async fn local(_: OrderPlaced) {}
    // Its own function stays callable.
    let _ = (place_again(PlaceOrder { sku: String::new() }), OrderPlaced(1).0);
}
