//! The attribute has no keys.
#[derive(catga::Event, Clone, serde::Serialize, serde::Deserialize)]
#[catga]
struct OrderPlaced;

fn main() {}
