//! The value behind `&self` cannot be shared.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

struct Orders(std::cell::Cell<u8>);

#[catga::handler]
impl Orders {
    async fn place(&self, _: PlaceOrder) {}
}

fn main() {}
