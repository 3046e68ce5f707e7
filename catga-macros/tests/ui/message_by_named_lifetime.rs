//! A handler borrows its message; the lifetime is no second mistake.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler]
async fn place_order<'a>(_: &'a PlaceOrder) {}

fn main() {}
