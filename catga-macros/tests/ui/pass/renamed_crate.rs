//! The crate goes by another name.
#![forbid(unsafe_code)]
#![deny(missing_docs, warnings, unused_qualifications, unreachable_pub, rust_2018_idioms)]

mod vendor {
    pub(crate) use catga as messages;
}

/// It shadows nothing that the macros write.
#[allow(dead_code)]
mod catga {}

use serde::{Deserialize, Serialize};
use vendor::messages::{Command, handler};

#[derive(Command, Clone, Serialize, Deserialize)]
#[catga(crate = vendor::messages)]
struct PlaceOrder;

#[handler(crate = vendor::messages)]
async fn place_order(_: PlaceOrder) {}

struct Orders;

#[handler(crate = crate::vendor::messages)]
impl Orders {
    async fn place(&self, _: PlaceOrder) {}
}

fn main() {
    let _ = Orders;
}
