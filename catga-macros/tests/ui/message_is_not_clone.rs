//! A message is not `Clone`.
#[derive(catga::Command, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler]
async fn place_order(_: PlaceOrder) {}

fn main() {}
