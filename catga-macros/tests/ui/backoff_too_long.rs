//! A time is beyond its range.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler(backoff = "25h")]
async fn place_order(_: PlaceOrder) {}

fn main() {}
