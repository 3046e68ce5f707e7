//! A method carries two attributes.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

struct Orders;

#[catga::handler]
impl Orders {
    #[handler(attempts = 2)]
    #[handler(timeout = "5s")]
    async fn place(&self, _: PlaceOrder) {}
}

fn main() {}
