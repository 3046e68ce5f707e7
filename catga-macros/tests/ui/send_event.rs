//! An event is sent.
#[derive(catga::Event, Clone, serde::Serialize, serde::Deserialize)]
struct OrderPlaced;

async fn announce(mediator: catga::Mediator) {
    let _ = mediator.send(OrderPlaced).await;
}

fn main() {
    let _ = announce;
}
