//! A message has a type parameter.
#[derive(catga::Event, Clone, serde::Serialize, serde::Deserialize)]
struct Changed<T>(T);

fn main() {}
