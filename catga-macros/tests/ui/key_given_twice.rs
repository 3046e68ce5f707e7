//! A key is given twice.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler(attempts = 2, timeout = "5s", attempts = 3)]
async fn place_order(_: PlaceOrder) {}

fn main() {}
