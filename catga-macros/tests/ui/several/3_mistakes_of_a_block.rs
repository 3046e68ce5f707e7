//! Each method of a block has its own mistake.
struct Orders;

#[catga::handler(tiemout = "5s")]
impl Orders {
    async fn place(&self) {}

    async fn cancel(&mut self, _: u8) {}
}

fn main() {}
