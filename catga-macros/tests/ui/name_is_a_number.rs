//! A name is a number.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler(name = 7)]
async fn place_order(_: PlaceOrder) {}

fn main() {}
