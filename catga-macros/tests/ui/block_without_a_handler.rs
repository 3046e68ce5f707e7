//! A block of handlers has none.
struct Orders;

#[catga::handler]
impl Orders {
    fn count(&self) {}
}

fn main() {}
