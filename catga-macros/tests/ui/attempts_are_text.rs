//! A number is text.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler(attempts = "3")]
async fn place_order(_: PlaceOrder) {}

fn main() {}
