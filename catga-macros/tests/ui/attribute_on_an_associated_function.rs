//! A function of an impl block that itself is not marked.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;
struct Orders;

impl Orders {
    #[catga::handler]
    async fn place(_: PlaceOrder) {}
}

fn main() {}
