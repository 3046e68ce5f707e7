//! What is deprecated can be declared and registered without a warning.
#![deny(warnings)]

#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
#[deprecated(note = "take `PlaceOrder`")]
struct OldOrder;

#[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
struct PlaceOrder;

#[catga::handler]
#[allow(deprecated)]
async fn old_order(_: OldOrder) {}

#[catga::handler]
#[deprecated]
async fn place_order(_: PlaceOrder) {}

fn main() {}
