//! A parameter of a method is not an extractor.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;
struct Orders;
struct Db;

#[catga::handler]
impl Orders {
    async fn place(&self, _: PlaceOrder, _: Db) -> Result<(), catga::Error> {
        Ok(())
    }
}

fn main() {}
