//! Remembers each message when it is delivered, before anybody has handled it, and takes whatever comes again for a
//! repeat: what failed once, or was on a node that was killed, is never delivered again.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use catga::{
    MessageId,
    transport::{Delivery, Settlement, Transport},
};
use futures_util::future::BoxFuture;

use super::rejects;
use crate::{
    bench::hooked::{Hooked, Hooks, Place},
    checks::Property,
};

#[derive(Default)]
struct DeduplicatesFirst(Mutex<BTreeSet<(Arc<str>, MessageId)>>);

impl Hooks for DeduplicatesFirst {
    fn delivering(self: Arc<Self>, place: &Place, mut delivery: Delivery) -> BoxFuture<'static, Option<Delivery>> {
        let durable = place.durable.clone();
        Box::pin(async move {
            if let Ok(messages) = &mut delivery.messages {
                let mut seen = self.0.lock().unwrap();
                messages.retain(|envelope| seen.insert((durable.clone(), envelope.id)));
            }
            if delivery.messages.as_ref().is_ok_and(Vec::is_empty) {
                delivery.settle.settle(Settlement::Acknowledge).await.unwrap();
                return None;
            }
            Some(delivery)
        })
    }
}

fn breakage(transport: Arc<dyn Transport>) -> Arc<dyn Transport> {
    Hooked::around(transport, DeduplicatesFirst::default())
}

/// The replay of a dead letter is a repeat as well: it has no effect.
#[tokio::test(start_paused = true)]
async fn a_transport_that_deduplicates_before_the_effect_is_rejected_for_what_it_loses() {
    rejects(breakage, &[Property::P1, Property::P7]).await;
}
