//! A state borrows its data.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler]
async fn place_order(_: PlaceOrder, _: catga::State<&str>) {}

fn main() {}
