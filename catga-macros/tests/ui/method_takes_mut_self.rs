//! A handler wants to change the value that all runs share.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

struct Orders;

#[catga::handler]
impl Orders {
    async fn place(&mut self, _: PlaceOrder) {}
}

fn main() {}
