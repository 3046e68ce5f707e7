//! A message cannot be read.
#[derive(catga::Command, Clone, serde::Serialize)]
struct PlaceOrder;

#[catga::handler]
async fn place_order(_: PlaceOrder) {}

fn main() {}
