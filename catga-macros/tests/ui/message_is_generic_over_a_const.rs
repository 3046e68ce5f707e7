//! A message has a const parameter.
#[derive(catga::Event, Clone, serde::Serialize, serde::Deserialize)]
struct Changed<const N: usize>;

fn main() {}
