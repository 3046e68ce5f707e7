//! Handlers in impl blocks, beside what is none.
#![forbid(unsafe_code)]
#![deny(missing_docs, warnings, unused_qualifications, unreachable_pub, rust_2018_idioms)]

use catga::{Command, Context, Event, Failure, handler};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(u64)]
struct PlaceOrder(u64);

#[derive(Event, Clone, Serialize, Deserialize)]
struct OrderPlaced(u64);

/// Not `Clone`: the runs share it.
struct Orders {
    discount: u64,
}

impl Orders {
    async fn helper(&self) -> u64 {
        self.discount
    }
}

#[handler(timeout = "5s")]
impl Orders {
    const LIMIT: u64 = 7;

    fn new(discount: u64) -> Self {
        Self { discount }
    }

    fn price(&self, amount: u64) -> u64 {
        amount.min(Self::LIMIT) - self.discount
    }

    async fn load() -> Self {
        Self::new(1)
    }

    /// A handler, documented.
    async fn place(&self, PlaceOrder(amount): PlaceOrder, ctx: Context) -> Result<u64, Failure> {
        drop(ctx);
        Ok(self.price(amount) + self.helper().await)
    }

    async fn close(self) -> u64 {
        self.discount
    }
}

#[handler]
impl Orders {
    #[handler(name = "orders.placed", group = "stock", attempts = 2)]
    async fn placed(&self, mut event: OrderPlaced) {
        event.0 += 1;
        drop(event);
    }

    #[cfg(any())]
    async fn absent(&self, _: ThereIsNoSuchType) {}

    #[catga::handler]
    async fn shared(self: &Arc<Self>, _: <Self as Is>::Same) {
        let _ = Arc::clone(self);
    }
}

trait Is {
    type Same;
}

impl Is for Orders {
    type Same = OrderPlaced;
}

mod inner {
    #[catga::handler]
    impl super::Orders {
        async fn twice(&self, _: super::OrderPlaced) {}
    }
}

struct Wrapper<T>(T);

#[handler]
impl Wrapper<u8> {
    async fn placed(&self, _: OrderPlaced) {
        let _ = self.0;
    }
}

fn main() {
    let _ = (Orders::load(), Orders::new(1).close(), Wrapper(1), OrderPlaced(1).0);
}
