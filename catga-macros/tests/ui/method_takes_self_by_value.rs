//! A method that is said to be a handler consumes its value.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

struct Orders;

#[catga::handler]
impl Orders {
    #[handler(attempts = 2)]
    async fn place(self, _: PlaceOrder) {}
}

fn main() {}
