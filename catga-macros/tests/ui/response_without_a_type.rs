//! A response has no type.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
#[response]
struct PlaceOrder;

#[catga::handler]
async fn place_order(_: PlaceOrder) -> u64 {
    7
}

fn main() {}
