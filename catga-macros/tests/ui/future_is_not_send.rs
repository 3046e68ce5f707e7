//! The handler holds something across an await that cannot change threads.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler]
async fn place_order(_: PlaceOrder) {
    let local = std::rc::Rc::new(1);
    std::future::ready(()).await;
    drop(local);
}

fn main() {}
