//! A method carries the attribute that belongs on its impl block.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

struct Orders;

impl Orders {
    #[catga::handler]
    async fn place(&self, _: PlaceOrder) {}
}

fn main() {}
