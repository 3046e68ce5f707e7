//! A handler borrows what it takes behind its message.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler]
async fn place_order(_: PlaceOrder, _: &String) {}

fn main() {}
