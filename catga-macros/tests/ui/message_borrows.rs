//! A message has a lifetime.
#[derive(catga::Command, Clone, serde::Serialize)]
struct Renamed<'a>(&'a str);

fn main() {}
