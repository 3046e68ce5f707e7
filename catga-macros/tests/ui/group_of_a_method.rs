//! A group of nodes cannot share the command of a method.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;
struct Orders;

#[catga::handler]
impl Orders {
    #[handler(group = "mail")]
    async fn place(&self, _: PlaceOrder) {}
}

fn main() {}
