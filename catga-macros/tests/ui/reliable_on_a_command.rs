//! A command is said to be reliable.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
#[reliable]
struct PlaceOrder;

fn main() {}
