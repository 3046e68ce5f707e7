//! A command is published. The bound stands for that of `Mediator::publish`, whose opaque future repeats the error.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

fn publish<E: catga::Event>(_: E) {}

fn main() {
    publish(PlaceOrder);
}
