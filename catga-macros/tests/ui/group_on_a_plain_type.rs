//! The first parameter of a handler in a group is not a message.
struct Plain;

#[catga::handler(group = "mail")]
async fn place_order(_: Plain) {}

fn main() {}
