//! A handler takes nothing.
#[catga::handler]
async fn place_order() {}

fn main() {}
