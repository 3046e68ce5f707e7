//! A command is emitted.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

fn announce(context: catga::Context) {
    context.emit(PlaceOrder);
}

fn main() {
    let _ = announce;
}
