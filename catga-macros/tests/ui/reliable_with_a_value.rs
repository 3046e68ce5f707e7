//! A switch has a value.
#[derive(catga::Event, Clone, serde::Serialize, serde::Deserialize)]
#[reliable(true)]
struct OrderPlaced;

fn main() {}
