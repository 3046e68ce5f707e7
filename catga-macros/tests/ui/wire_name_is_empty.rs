//! A name on the wire is empty.
#[derive(catga::Event, Clone, serde::Serialize, serde::Deserialize)]
#[catga(name = "")]
struct OrderPlaced;

fn main() {}
