//! A group of nodes cannot share a command.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler(group = "mail")]
async fn place_order(_: PlaceOrder) {}

fn main() {}
