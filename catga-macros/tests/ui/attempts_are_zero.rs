//! No run at all.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler(attempts = 0)]
async fn place_order(_: PlaceOrder) {}

fn main() {}
