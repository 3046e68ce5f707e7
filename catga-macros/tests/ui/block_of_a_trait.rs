//! Handlers stand in the impl of a trait.
struct Orders;

#[catga::handler]
impl Clone for Orders {
    fn clone(&self) -> Self {
        Self
    }
}

fn main() {}
