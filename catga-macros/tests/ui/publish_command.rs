//! A command is published.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

async fn announce(mediator: catga::Mediator) -> Result<(), catga::Error> {
    mediator.publish(PlaceOrder).await
}

fn main() {}
