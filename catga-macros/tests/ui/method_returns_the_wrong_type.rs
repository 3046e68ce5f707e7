//! A method answers another type than its message asks for.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;
struct Orders;

#[catga::handler]
impl Orders {
    async fn place(&self, _: PlaceOrder) -> Result<String, catga::Error> {
        Ok(String::new())
    }
}

fn main() {}
