//! A path is text.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler(crate = "catga")]
async fn place_order(_: PlaceOrder) {}

fn main() {}
