//! An async helper stands in the block of the handlers, and borrows.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;
struct Orders;

#[catga::handler]
impl Orders {
    async fn place(&self, _: PlaceOrder) {
        self.count("tea").await
    }
    async fn count(&self, _: &str) {}
}

fn main() {}
