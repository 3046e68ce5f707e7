//! The handler answers another type than its message asks for, without a `Result`.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
#[response(u64)]
struct PlaceOrder;

#[catga::handler]
async fn place_order(_: PlaceOrder) -> String {
    String::new()
}

fn main() {}
