//! A handler takes nine parameters behind its message.
#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

use catga::Context as C;

#[catga::handler]
#[allow(clippy::too_many_arguments)]
async fn place_order(_: PlaceOrder, _: C, _: C, _: C, _: C, _: C, _: C, _: C, _: C, _: C) {}

fn main() {}
