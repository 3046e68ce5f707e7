//! The transport inside one process, as a subject of the suite.

use std::{sync::Arc, time::Duration};

use catga::{
    Limits,
    testing::{Fault, Harness, Traffic},
    transport::Transport,
};
use futures_util::future::BoxFuture;

use super::subject::{Faults, Subject};
use crate::history::Pace;

/// Nodes that share a broker in this process: an example of a subject, for [`Clock::Virtual`](crate::Clock::Virtual).
#[derive(Default)]
pub struct InProcessSubject(Harness);

impl InProcessSubject {
    /// A broker of its own, without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    fn inject(&self, fault: Fault) -> BoxFuture<'_, ()> {
        Box::pin(self.0.inject(fault))
    }
}

impl Subject for InProcessSubject {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(self.0.broker().clone())
    }

    fn limits(&self) -> Limits {
        // What a lost sign costs.
        Limits { ack_wait: Duration::from_secs(3), ..Limits::default() }
    }

    fn pace(&self) -> Pace {
        // On tokio's virtual clock.
        Pace::default()
    }

    fn patience(&self) -> Duration {
        // Longer than all retries and time-outs together.
        Duration::from_secs(900)
    }

    fn under_way(&self) -> usize {
        // A consumer asks for 16 deliveries at a time, of at most 32 messages each.
        16 * 32
    }

    fn faults(&self) -> &dyn Faults {
        self
    }
}

impl Faults for InProcessSubject {
    fn cut<'a>(&'a self, node: &'a str) -> BoxFuture<'a, ()> {
        self.inject(Fault::cut(node))
    }

    fn disconnect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, ()> {
        panic!("nodes in one process have no connection, and say so")
    }

    fn silence<'a>(&'a self, _: &'a str) -> BoxFuture<'a, ()> {
        panic!("nodes in one process have no connection, and say so")
    }

    fn heal(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.heal())
    }

    fn restart(&self) -> BoxFuture<'_, ()> {
        panic!("this store ends with its process, and says so")
    }

    fn lose_acknowledgements(&self, count: usize) -> BoxFuture<'_, ()> {
        self.inject(Fault::drop(Traffic::Acknowledgement).times(count))
    }

    fn lose_store_confirmations(&self, count: usize) -> BoxFuture<'_, ()> {
        self.inject(Fault::drop(Traffic::StoreConfirmation).times(count))
    }

    fn lose_deliveries(&self, count: usize) -> BoxFuture<'_, ()> {
        self.inject(Fault::drop(Traffic::Delivery).times(count))
    }

    fn double_deliveries(&self, count: usize) -> BoxFuture<'_, ()> {
        self.inject(Fault::duplicate(Traffic::Delivery).times(count))
    }

    fn double_requests(&self, count: usize) -> BoxFuture<'_, ()> {
        self.inject(Fault::duplicate(Traffic::Request).times(count))
    }

    fn lose_replies(&self, count: usize) -> BoxFuture<'_, ()> {
        self.inject(Fault::drop(Traffic::Reply).times(count))
    }

    fn delay_replies(&self, count: usize, delay: Duration) -> BoxFuture<'_, ()> {
        self.inject(Fault::delay(Traffic::Reply, delay).times(count))
    }
}
