//! The first parameter is not a message.
struct Plain;

#[catga::handler]
async fn place_order(_: Plain) {}

fn main() {}
