//! More runs than the limit.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler(attempts = 101)]
async fn place_order(_: PlaceOrder) {}

fn main() {}
