//! A key is none that there is.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler(retries = 3)]
async fn place_order(_: PlaceOrder) {}

fn main() {}
