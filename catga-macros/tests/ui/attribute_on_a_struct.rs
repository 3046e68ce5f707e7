//! The attribute stands on a type.
#[catga::handler]
struct PlaceOrder;

fn main() {}
