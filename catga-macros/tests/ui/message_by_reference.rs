//! A handler borrows its message.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler]
async fn place_order(_: &PlaceOrder) {}

fn main() {}
