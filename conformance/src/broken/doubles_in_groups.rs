//! Gives what is for one member of a group to a second one as well.

use std::sync::Arc;

use catga::transport::{Delivery, Transport};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::{Ways, rejects};
use crate::{
    bench::hooked::{Hooked, Hooks, Place},
    checks::Property,
};

/// How many copies wait for a member.
const QUEUE: usize = 1_000;

#[derive(Default)]
struct DoublesInGroups(Ways);

impl Hooks for DoublesInGroups {
    fn extra(&self, place: &Place) -> Option<mpsc::Receiver<Delivery>> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.0.lock().unwrap().insert((place.durable.clone(), place.node.clone()), sender);
        Some(receiver)
    }

    fn delivering(self: Arc<Self>, place: &Place, delivery: Delivery) -> BoxFuture<'static, Option<Delivery>> {
        if place.shared
            && let Ok(messages) = &delivery.messages
        {
            let (sequence, deliveries, settle) = (delivery.sequence, delivery.deliveries, delivery.settle.clone());
            let copy = Delivery::new(sequence, deliveries, Ok(messages.clone()), settle);
            let members = self.0.lock().unwrap();
            let mut others =
                members.iter().filter(|((durable, node), _)| *durable == place.durable && *node != place.node);
            if let Some((_, other)) = others.next() {
                // A member that is gone takes no copies.
                drop(other.try_send(copy));
            }
        }
        Box::pin(async move { Some(delivery) })
    }
}

fn breakage(transport: Arc<dyn Transport>) -> Arc<dyn Transport> {
    Hooked::around(transport, DoublesInGroups::default())
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_gives_a_group_message_to_two_members_is_rejected_for_the_overlap() {
    rejects(breakage, &[Property::P10]).await;
}
