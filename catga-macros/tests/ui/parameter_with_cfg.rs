//! A parameter of a handler is there for some targets only.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler]
async fn place_order(_: PlaceOrder, #[cfg(unix)] _: catga::Context) {}

fn main() {}
