//! A handler is unsafe.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler]
async unsafe fn place_order(_: PlaceOrder) {}

fn main() {}
