//! A response is more private than its message.
#[derive(serde::Serialize, serde::Deserialize)]
struct OrderId;

#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
#[response(OrderId)]
pub struct PlaceOrder;

fn main() {}
