//! An async helper stands in the block of the handlers.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;
struct Orders;

#[catga::handler]
impl Orders {
    async fn place(&self, _: PlaceOrder) {
        self.count(7).await
    }
    async fn count(&self, _: u64) {}
}

fn main() {}
