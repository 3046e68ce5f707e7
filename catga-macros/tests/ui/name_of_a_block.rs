//! A name is given to a block of handlers.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

struct Orders;

#[catga::handler(name = "orders.place")]
impl Orders {
    async fn place(&self, _: PlaceOrder) {}
}

fn main() {}
