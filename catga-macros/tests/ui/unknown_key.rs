//! A key is misspelt.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler(naem = "orders.place")]
async fn place_order(_: PlaceOrder) {}

fn main() {}
