//! A group's name has a wildcard.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler(group = "mail.*")]
async fn place_order(_: PlaceOrder) {}

fn main() {}
