//! An event has a response.
#[derive(catga::Event, Clone, serde::Serialize, serde::Deserialize)]
#[response(u64)]
struct OrderPlaced;

fn main() {}
