//! The type of a response is misspelt.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
#[response(OderId)]
struct PlaceOrder;

#[catga::handler]
async fn place_order(_: PlaceOrder) -> u64 {
    7
}

fn main() {}
