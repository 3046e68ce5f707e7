//! A block of handlers has a type parameter.
struct Orders<S>(S);

#[catga::handler]
impl<S: Send> Orders<S> {
    async fn place(&self, _: u8) {}
}

fn main() {}
