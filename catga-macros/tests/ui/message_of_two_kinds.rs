//! A message is a command and an event.
#[derive(catga::Command, catga::Event, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

fn main() {}
