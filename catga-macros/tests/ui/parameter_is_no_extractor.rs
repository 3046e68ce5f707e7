//! A parameter behind the message is not an extractor.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;
struct Db;

#[catga::handler]
async fn place_order(_: PlaceOrder, _: catga::Context, _: Db) {}

fn main() {}
