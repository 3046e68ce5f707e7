//! A key has no value.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler(timeout)]
async fn place_order(_: PlaceOrder) {}

fn main() {}
