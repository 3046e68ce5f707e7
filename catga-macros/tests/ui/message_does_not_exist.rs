//! The message's type is misspelt.
#[catga::handler]
async fn place_order(_: PlaceOdrer) {}

fn main() {}
