//! A method says where catga is.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

struct Orders;

#[catga::handler]
impl Orders {
    #[handler(crate = catga)]
    async fn place(&self, _: PlaceOrder) {}
}

fn main() {}
