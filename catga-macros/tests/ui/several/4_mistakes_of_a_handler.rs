//! Keys, function and parameters are wrong: all is said at once.
#[catga::handler(atempts = 3)]
fn place_order(_: &PlaceOrder, _: impl Send) {}

#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

fn main() {}
