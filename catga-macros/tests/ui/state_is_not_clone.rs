//! A state that a handler takes is not `Clone`.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;
struct Db;

#[catga::handler]
async fn place_order(_: PlaceOrder, _: catga::State<Db>) {}

fn main() {}
