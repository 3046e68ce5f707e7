//! A time has no unit.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler(timeout = "5")]
async fn place_order(_: PlaceOrder) {}

fn main() {}
