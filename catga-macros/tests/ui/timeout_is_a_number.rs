//! A time is a plain number.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler(timeout = 5)]
async fn place_order(_: PlaceOrder) {}

fn main() {}
