//! An event is sent. The bound stands for that of `Mediator::send`.
#[derive(catga::Event, Clone, serde::Serialize, serde::Deserialize)]
struct OrderPlaced;

fn send<R: catga::Request>(_: R) {}

fn main() {
    send(OrderPlaced);
}
