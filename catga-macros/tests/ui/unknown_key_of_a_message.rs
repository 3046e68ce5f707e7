//! A key of a message is misspelt; the message is still one for its handler.
#[derive(catga::Event, Clone, serde::Serialize, serde::Deserialize)]
#[catga(frames = 1)]
struct OrderPlaced;

#[catga::handler]
async fn order_placed(_: OrderPlaced) {}

fn main() {}
