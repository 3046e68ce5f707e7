//! A frame is larger than the limit.
#[derive(catga::Event, Clone, serde::Serialize, serde::Deserialize)]
#[catga(frame = 129)]
struct OrderPlaced;

fn main() {}
