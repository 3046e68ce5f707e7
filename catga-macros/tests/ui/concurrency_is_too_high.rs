//! More runs at the same time than the limit.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler(concurrency = 100001)]
async fn place_order(_: PlaceOrder) {}

fn main() {}
