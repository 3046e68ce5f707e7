//! The type of a state is misspelt.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler]
async fn place_order(_: PlaceOrder, _: catga::State<Shpo>) {}

fn main() {}
