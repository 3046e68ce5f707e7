//! A response has no type.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
#[response]
struct PlaceOrder;

fn main() {}
