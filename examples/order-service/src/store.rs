//! The orders that one node knows: its own, and those that it heard of. They are gone when the node is.

use moka::{policy::EvictionPolicy, sync::Cache};

use crate::messages::{Order, OrderId};

/// How many orders a node keeps; beyond, those not asked for longest go first. About 60 MB.
const CAPACITY: u64 = 100_000;

/// A map that is bounded, cheap to clone, and shared by all handlers of a node.
#[derive(Clone)]
pub struct Store(Cache<OrderId, Order>);

impl Store {
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    fn with_capacity(orders: u64) -> Self {
        // The default policy of moka turns new entries away when it is full; orders are wanted while they are new.
        Self(Cache::builder().max_capacity(orders).eviction_policy(EvictionPolicy::lru()).build())
    }

    pub fn find(&self, id: &OrderId) -> Option<Order> {
        self.0.get(id)
    }

    /// Takes up an order that was created, unless more is known of it: events of two kinds come in any order.
    pub fn created(&self, order: Order) {
        self.0.entry(order.order_id.clone()).or_insert(order);
    }

    /// Takes up an order that was shipped. It is the last that happens to one, and may be told twice.
    pub fn shipped(&self, order: Order) {
        self.0.insert(order.order_id.clone(), order);
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
            store.0.run_pending_tasks();
        }
        assert!(orders[90..].iter().all(|order| store.find(&order.order_id).is_some()));
        assert!(orders[..90].iter().all(|order| store.find(&order.order_id).is_none()));
    }
}
