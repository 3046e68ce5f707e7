//! The handler of a command with a response answers nothing.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
#[response(u64)]
struct PlaceOrder;

#[catga::handler]
async fn place_order(_: PlaceOrder) {}

fn main() {}
