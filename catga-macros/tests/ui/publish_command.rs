//! A command is published. The bound stands for that of `Mediator::publish`.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

fn publish<E: catga::Event>(_: E) {}

fn main() {
    publish(PlaceOrder);
}
