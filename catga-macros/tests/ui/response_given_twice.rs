//! A response is given twice.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
#[response(u64)]
#[response(u32)]
struct PlaceOrder;

fn main() {}
