//! Everything that can be said of an event is said wrongly, and it is still an event for its handler.
#[derive(catga::Event, Clone, serde::Serialize, serde::Deserialize)]
#[response(u64)]
#[reliable = "yes"]
#[catga(name = "order placed", fram = 1)]
struct OrderPlaced;

#[catga::handler]
async fn order_placed(_: OrderPlaced) {}

fn main() {}
