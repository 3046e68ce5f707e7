//! The error type of the handler is not an error.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;
struct MyErr;

#[catga::handler]
async fn place_order(_: PlaceOrder) -> Result<(), MyErr> {
    Err(MyErr)
}

fn main() {}
