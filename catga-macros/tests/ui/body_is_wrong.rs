//! A mistake in the body is the compiler's.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler]
async fn place_order(_: PlaceOrder) -> Result<(), catga::Error> {
    7
}

fn main() {}
