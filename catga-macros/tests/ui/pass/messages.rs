//! Messages of every shape, wherever a type can stand.
#![forbid(unsafe_code)]
#![deny(missing_docs, warnings, unused_qualifications, unreachable_pub, rust_2018_idioms)]

use catga::{Command, Event, Query};
use serde::{Deserialize, Serialize};

/// A struct with fields, which others can name.
#[derive(Command, Clone, Serialize, Deserialize)]
#[response(u64)]
pub struct PlaceOrder {
    /// What is ordered.
    pub sku: String,
}

/// A unit struct.
#[derive(Command, Clone, Serialize, Deserialize)]
pub struct Restock;

#[derive(Query, Clone, Serialize, Deserialize)]
#[response(Option<Vec<(String, u64)>>)]
struct Lines(u64, #[serde(default)] u8);

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
#[catga(name = "orders.v2.Changed", frame = 1)]
enum Changed {
    Placed,
    Cancelled { reason: String },
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[allow(non_camel_case_types)]
struct r#type;

mod inner {
    #[derive(catga::Command, Clone, serde::Serialize, serde::Deserialize)]
    #[response(super::Lines)]
    pub(super) struct Nested;
}

fn main() {
    #[derive(Event, Clone, Serialize, Deserialize)]
    struct Local;

    fn name<M: catga::Message>(_: M) -> &'static str {
        M::NAME
    }
    fn cloned<M: catga::Message>(message: &M) -> M {
        message.clone()
    }
    assert_eq!(name(Changed::Placed), "orders.v2.Changed");
    assert!(name(r#type).ends_with(".type"));
    assert!(name(Local).ends_with(".Local"));
    assert!(name(cloned(&inner::Nested)).ends_with(".Nested"));
    let _ = (Changed::Cancelled { reason: String::new() }, Lines(1, 2));
}
