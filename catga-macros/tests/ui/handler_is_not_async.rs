//! A handler is a plain function.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler]
fn place_order(_: PlaceOrder) {}

fn main() {}
