//! An attribute gets a value without its key.
#[derive(catga::Event, Clone, serde::Serialize, serde::Deserialize)]
#[reliable]
struct OrderPlaced;

#[catga::handler("mail")]
async fn send_receipt(_: OrderPlaced) {}

fn main() {}
