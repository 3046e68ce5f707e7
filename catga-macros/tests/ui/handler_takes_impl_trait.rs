//! A handler has a hidden type parameter.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler]
async fn place_order(_: PlaceOrder, _: impl Send) {}

fn main() {}
