//! What the author of a transport gives the suite: the transport, and the faults that it can be put through.

use std::{sync::Arc, time::Duration};

use catga::{Limits, transport::Transport};
use futures_util::future::BoxFuture;

use crate::history::Pace;

/// A transport under test, with an empty store of its own.
pub trait Subject: Send + Sync + 'static {
    /// A way in; every one leads to the same store.
    fn transport(&self) -> Arc<dyn Transport>;

    /// The limits of a node: those of a program, but for what a scenario would have to wait for. Scenarios measure by them.
    fn limits(&self) -> Limits;

    /// How exact time is here.
    fn pace(&self) -> Pace;

    /// How long something that must happen is waited for.
    fn patience(&self) -> Duration;

    /// A node was killed: its connections end, as those of a process do that has ended.
    fn killed(&self, _node: &str) {}

    /// How many messages of a durable may still arrive at a node that asks for no more.
    fn under_way(&self) -> usize;

    /// What can be made to go wrong.
    fn faults(&self) -> &dyn Faults;
}

/// What goes wrong between nodes and their store. Nodes are killed by the suite itself.
pub trait Faults: Send + Sync {
    /// Nothing reaches this node and nothing leaves it.
    fn cut<'a>(&'a self, node: &'a str) -> BoxFuture<'a, ()>;

    /// The connections of this node end, and may be made again at once. Asked only of a transport that says it can be
    /// disconnected.
    fn disconnect<'a>(&'a self, node: &'a str) -> BoxFuture<'a, ()>;

    /// Nothing gets through to this node or from it, and no connection ends; what was sent meanwhile arrives when it is
    /// healed. Asked only of a transport that says it can be disconnected.
    fn silence<'a>(&'a self, node: &'a str) -> BoxFuture<'a, ()>;

    /// Ends every fault.
    fn heal(&self) -> BoxFuture<'_, ()>;

    /// Ends the process of the store and starts it again. Asked only of a transport that says it survives that.
    fn restart(&self) -> BoxFuture<'_, ()>;

    /// So many signs of how a delivery was settled do not reach the store.
    fn lose_acknowledgements(&self, count: usize) -> BoxFuture<'_, ()>;

    /// So many messages are stored without their sender being told.
    fn lose_store_confirmations(&self, count: usize) -> BoxFuture<'_, ()>;

    /// So many deliveries do not reach their node.
    fn lose_deliveries(&self, count: usize) -> BoxFuture<'_, ()>;

    /// So many deliveries reach their node twice.
    fn double_deliveries(&self, count: usize) -> BoxFuture<'_, ()>;

    /// So many requests reach their node twice.
    fn double_requests(&self, count: usize) -> BoxFuture<'_, ()>;

    /// So many replies do not reach who asked.
    fn lose_replies(&self, count: usize) -> BoxFuture<'_, ()>;

    /// So many replies arrive late.
    fn delay_replies(&self, count: usize, delay: Duration) -> BoxFuture<'_, ()>;
}
