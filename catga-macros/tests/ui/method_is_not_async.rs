//! A method that is said to be a handler is not async.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

struct Orders;

#[catga::handler]
impl Orders {
    #[handler(attempts = 2)]
    fn place(&self, _: PlaceOrder) {}
}

fn main() {}
