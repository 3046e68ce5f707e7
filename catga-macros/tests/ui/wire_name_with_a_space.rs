//! A name on the wire has a space.
#[derive(catga::Event, Clone, serde::Serialize, serde::Deserialize)]
#[catga(name = "order placed")]
struct OrderPlaced;

fn main() {}
