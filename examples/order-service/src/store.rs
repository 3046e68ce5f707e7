//! The orders that one node knows: its own, and those that it heard of. They are gone when the node is.

use moka::{policy::EvictionPolicy, sync::Cache};

use crate::messages::{Order, OrderId};

/// How many orders a node keeps; beyond, those not asked for longest go first. About 30 MB.
const CAPACITY: u64 = 100_000;

/// A map that is bounded, cheap to clone, and shared by all handlers of a node.
#[derive(Clone)]
pub struct Store(Cache<OrderId, Order>);

impl Store {
    pub fn new() -> Self {
        // The default policy of moka turns new entries away when it is full; orders are wanted while they are new.
        Self(Cache::builder().max_capacity(CAPACITY).eviction_policy(EvictionPolicy::lru()).build())
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
