//! A response cannot be written.
#[derive(serde::Deserialize)]
struct OrderId;

#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
#[response(OrderId)]
struct PlaceOrder;

#[catga::handler]
async fn place_order(_: PlaceOrder) -> OrderId {
    OrderId
}

fn main() {}
