//! The handler answers another type than its message asks for.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
#[response(u64)]
struct PlaceOrder;

#[catga::handler]
async fn place_order(_: PlaceOrder) -> Result<String, catga::Error> {
    Ok(String::new())
}

fn main() {}
