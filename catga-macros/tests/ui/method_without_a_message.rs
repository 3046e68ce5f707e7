//! An async method in a block of handlers takes no message.
struct Orders;

#[catga::handler]
impl Orders {
    async fn place(&self) {}
}

fn main() {}
