//! A message cannot be written.
#[derive(catga::Command, Clone, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler]
async fn place_order(_: PlaceOrder) {}

fn main() {}
