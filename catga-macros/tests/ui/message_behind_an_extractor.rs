//! The context stands before the message.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler]
async fn place_order(_: catga::Context, _: PlaceOrder) {}

fn main() {}
