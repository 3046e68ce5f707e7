//! A handler has a type parameter.
#[catga::handler]
async fn place_order<M: catga::Command>(_: M) {}

fn main() {}
