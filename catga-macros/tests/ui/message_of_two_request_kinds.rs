//! A message is a command and a query, and it is handled and sent.
#[derive(catga::Command, catga::Query, Clone, serde::Serialize, serde::Deserialize)]
#[response(u64)]
struct PlaceOrder;

#[catga::handler]
async fn place_order(_: PlaceOrder) -> u64 {
    0
}

fn main() {
    let _ = |mediator: catga::Mediator| drop(mediator.send(PlaceOrder));
}
