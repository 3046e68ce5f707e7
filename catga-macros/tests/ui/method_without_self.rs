//! An associated function is said to be a handler.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

struct Orders;

#[catga::handler]
impl Orders {
    #[handler]
    async fn place(_: PlaceOrder) {}
}

fn main() {}
