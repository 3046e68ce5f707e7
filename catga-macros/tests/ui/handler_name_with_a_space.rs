//! A handler's name has a space.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler(name = "place order")]
async fn place_order(_: PlaceOrder) {}

fn main() {}
