//! A name on the wire has an empty part.
#[derive(catga::Event, Clone, serde::Serialize, serde::Deserialize)]
#[catga(name = "orders..OrderPlaced")]
struct OrderPlaced;

fn main() {}
