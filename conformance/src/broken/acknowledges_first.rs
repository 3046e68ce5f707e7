//! Acknowledges each delivery before a handler sees it.

use std::sync::Arc;

use catga::transport::{Delivery, Settlement, Transport};
use futures_util::future::BoxFuture;

use super::rejects;
use crate::{
    bench::hooked::{Hooked, Hooks, Place},
    checks::Property,
};

struct AcknowledgesFirst;

impl Hooks for AcknowledgesFirst {
    fn delivering(self: Arc<Self>, _: &Place, delivery: Delivery) -> BoxFuture<'static, Option<Delivery>> {
        Box::pin(async move {
            delivery.settle.settle(Settlement::Acknowledge).await.unwrap();
            Some(delivery)
        })
    }
}

fn breakage(transport: Arc<dyn Transport>) -> Arc<dyn Transport> {
    Hooked::around(transport, AcknowledgesFirst)
}

/// What is acknowledged too early is lost when the node is killed: the second property is the price of the first.
#[tokio::test(start_paused = true)]
async fn a_transport_that_acknowledges_first_is_rejected_for_the_early_sign_and_for_what_it_loses_at_a_kill() {
    rejects(breakage, &[Property::P1, Property::P5]).await;
}
