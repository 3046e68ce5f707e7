//! The orders that one node knows: its own, and those that it heard of. They are gone when the node is.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use papaya::HashMap;

use crate::messages::{Order, OrderId};

/// How many orders a node keeps; beyond, those that it heard of first go. About 40 MB.
const CAPACITY: usize = 100_000;

/// A map that is bounded, without locks, cheap to clone, and shared by all handlers of a node.
#[derive(Clone)]
pub struct Store(Arc<Newest>);

struct Newest {
    orders: HashMap<OrderId, Order>,
    /// The ids in `orders`, the oldest first.
    ids: ArrayQueue<OrderId>,
}

impl Store {
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    fn with_capacity(orders: usize) -> Self {
        Self(Arc::new(Newest { orders: HashMap::new(), ids: ArrayQueue::new(orders) }))
    }

    pub fn find(&self, id: &OrderId) -> Option<Order> {
        self.0.orders.pin().get(id).cloned()
    }

    /// Takes up an order that was created, unless more is known of it: events of two kinds come in any order.
    pub fn created(&self, order: Order) {
        let id = order.order_id.clone();
        if self.0.orders.pin().try_insert(id.clone(), order).is_ok() {
            self.came(id);
        }
    }

    /// Takes up an order that was shipped. It is the last that happens to one, and may be told twice.
    pub fn shipped(&self, order: Order) {
        let id = order.order_id.clone();
        if self.0.orders.pin().insert(id.clone(), order).is_none() {
            self.came(id);
        }
    }

    fn came(&self, id: OrderId) {
        if let Some(oldest) = self.0.ids.force_push(id) {
            self.0.orders.pin().remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use catga::MessageId;

    use super::*;
    use crate::messages::Status;

    fn order() -> Order {
        Order {
            order_id: OrderId::new("node1", MessageId::new()),
            product_id: "tea".into(),
            quantity: NonZeroU32::MIN,
            status: Status::Created,
            processed_by: "node1".into(),
            tracking_number: None,
        }
    }

    #[test]
    fn a_shipped_order_stays_shipped_in_whatever_order_one_hears_of_it() {
        let (store, order) = (Store::new(), order());
        store.created(order.clone());
        assert_eq!(store.find(&order.order_id), Some(order.clone()));
        store.shipped(order.clone().shipped());
        store.created(order.clone());
        store.shipped(order.clone().shipped());
        assert_eq!(store.find(&order.order_id), Some(order.shipped()));
    }

    #[test]
    fn the_newest_orders_are_kept_and_the_oldest_make_room() {
        let store = Store::with_capacity(10);
        let orders: Vec<_> = (0..100).map(|_| order()).collect();
        for order in &orders {
            store.created(order.clone());
        }
        assert!(orders[90..].iter().all(|order| store.find(&order.order_id).is_some()));
        assert!(orders[..90].iter().all(|order| store.find(&order.order_id).is_none()));
    }
}
