//! What carries messages between nodes: the contract that every transport keeps.
//!
//! A transport [joins](Transport::join) a node to an application. What the node sends goes through its [`Link`]; what it
//! receives arrives in its [`Inbox`] and, for reliable events, through one [`Consumer`] for each durable. The contract
//! speaks of batches: messages that were waiting at the same time travel together, and share one delivery.

pub(crate) mod in_process;
mod inbox;
#[cfg(feature = "nats")]
pub(crate) mod nats;

use std::{fmt, sync::Arc, time::Duration};

/// The binary form in which messages travel between nodes, several to a frame, for whoever writes a transport. A frame is
/// read whole or not at all: whatever bytes come in, the result is messages or an error.
pub mod frame {
    pub use crate::frame::{
        MAX_MESSAGES, dead::decode_dead, dead::encode_dead, decode_messages, decode_replies, encode_messages,
        encode_replies,
    };
}

use bytes::Bytes;
use futures_util::future::BoxFuture;

#[cfg(feature = "nats")]
pub use self::nats::{Nats, NatsBuilder, Permissions};
pub use self::{
    in_process::{InProcess, InProcessBuilder},
    inbox::{EventQueue, Inbox, InboxSenders},
};
pub use crate::{
    dead_letter::{DeadContent, DeadLetter},
    envelope::{Envelope, Reply, RequestPart, RetryPart},
};
use crate::{error::Error, id::MessageId};

/// Joins nodes to applications.
pub trait Transport: Send + Sync + 'static {
    /// What this transport can and cannot do.
    fn capabilities(&self) -> Capabilities;

    /// Joins a node. When it returns, the node receives: whatever is sent from then on arrives.
    ///
    /// A node that joins under the id of another one takes its place: the queues of the other one's [`Inbox`] end, or it
    /// hears in them what the new one announces. Either tells it to end.
    fn join(&self, node: Registration) -> BoxFuture<'_, Result<Joined, Error>>;
}

/// What a transport can and cannot do; `build()` and the conformance suite ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// What was stored is still there when every process of the application has ended.
    pub survives_the_process: bool,
    /// A publish may end with an outcome that nobody knows.
    pub may_end_unknown: bool,
    /// A node can lose its connection and go on.
    pub can_be_disconnected: bool,
    /// What was stored is given up at an age or a size.
    pub has_a_horizon: bool,
    /// Several messages may share one delivery.
    pub messages_share_a_delivery: bool,
}

impl Capabilities {
    /// A transport that can do nothing of it.
    pub const NONE: Self = Self {
        survives_the_process: false,
        may_end_unknown: false,
        can_be_disconnected: false,
        has_a_horizon: false,
        messages_share_a_delivery: false,
    };
}

/// A node that joins.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Registration {
    /// The application; nodes of different applications do not meet.
    pub app: Arc<str>,
    /// The node's id, unique within the application.
    pub node: Arc<str>,
    /// Larger at each start of the node.
    pub incarnation: u64,
    /// The names of the events of QoS 0 that it handles.
    pub events: Vec<Arc<str>>,
    /// The names of the requests that it handles.
    pub requests: Vec<Arc<str>>,
    /// What it consumes of the reliable events.
    pub durables: Vec<Durable>,
    /// How many messages each queue towards the node holds.
    pub queue: usize,
}

/// A place that is kept in the stream of reliable events: each event is delivered to it until it is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Durable {
    /// Names it within the application.
    pub name: Arc<str>,
    /// The names of the events that it is delivered.
    pub events: Vec<Arc<str>>,
    /// Whether several nodes share it, each event going to one of them.
    pub shared: bool,
    /// How long a delivery may go without a sign of progress before it is made again.
    pub ack_wait: Duration,
    /// How long it is kept while no node is connected to it; `None` keeps it for good.
    pub lifetime: Option<Duration>,
}

/// A node that has joined.
#[non_exhaustive]
pub struct Joined {
    /// What the node sends goes here.
    pub link: Arc<dyn Link>,
    /// What the node receives arrives here.
    pub inbox: Inbox,
    /// One for each durable of the registration, in the same order.
    pub consumers: Vec<Box<dyn Consumer>>,
}

impl Joined {
    /// A node that has joined.
    pub fn new(link: Arc<dyn Link>, inbox: Inbox, consumers: Vec<Box<dyn Consumer>>) -> Self {
        Self { link, inbox, consumers }
    }
}

impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joined").field("consumers", &self.consumers.len()).finish_non_exhaustive()
    }
}

/// The way out of a node.
///
/// All messages of a batch have one name. A future that is dropped may or may not have sent its batch.
pub trait Link: Send + Sync + 'static {
    /// The largest payload of one message, in bytes.
    fn max_payload(&self) -> usize;

    /// The most bytes, by [`Envelope::size`], that messages which are stored together may take. One that is larger is stored
    /// alone, or refused.
    fn max_batch(&self) -> usize {
        self.max_payload()
    }

    /// Hands events of QoS 0 to every other node that handles them; says nothing of whether they arrive.
    fn publish(&self, batch: Vec<Envelope>) -> BoxFuture<'_, Result<(), Error>>;

    /// Stores reliable events, and returns when they are stored. The transport repeats an attempt whose outcome it does
    /// not know, under the same identity, so that nothing is stored twice.
    fn store(&self, batch: Vec<Envelope>) -> BoxFuture<'_, Result<(), Error>>;

    /// Stores a message for one durable alone, to be delivered when `delay` has passed, and returns when it is stored.
    /// The same `identity` is stored once.
    ///
    /// A store that is full answers `Overloaded`, one that does not know the durable `NotFound`, one that takes no message of
    /// this size `TooLarge`, all with the outcome `NotStarted`: then nothing is stored, and the node goes on with the message
    /// itself.
    fn store_for<'a>(
        &'a self,
        durable: &'a str,
        message: Envelope,
        identity: MessageId,
        delay: Duration,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Hands requests to a node. What cannot be delivered is answered in the [`Inbox`].
    fn request<'a>(&'a self, node: &'a str, batch: Vec<Envelope>) -> BoxFuture<'a, Result<(), Error>>;

    /// Hands replies to the node that asked.
    fn reply<'a>(&'a self, node: &'a str, batch: Vec<Reply>) -> BoxFuture<'a, Result<(), Error>>;

    /// Tells every other node something about this one.
    fn announce(&self, announcement: Bytes) -> BoxFuture<'_, Result<(), Error>>;

    /// Stores a dead letter, and returns when it is stored. The same id is stored once.
    fn bury(&self, letter: DeadLetter) -> BoxFuture<'_, Result<(), Error>>;

    /// The dead letters, oldest first, from behind the one named by `after`, at most `limit`.
    fn dead_letters(&self, after: Option<MessageId>, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, Error>>;

    /// One dead letter.
    fn dead_letter(&self, id: MessageId) -> BoxFuture<'_, Result<Option<DeadLetter>, Error>>;

    /// Deletes a dead letter; says whether it was there.
    fn delete_dead_letter(&self, id: MessageId) -> BoxFuture<'_, Result<bool, Error>>;

    /// How many messages wait, delivered or not. It is a node that shuts down who asks: from then on the transport takes it
    /// for one that leaves, so that of several that shut down together the last to ask is told that it is.
    fn backlog(&self) -> BoxFuture<'_, Result<Backlog, Error>>;

    /// Why the node can neither send nor receive now, such as a lost connection; by default it always can.
    fn health(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Withdraws the node from callers that are no nodes, before it shuts down: when it returns, they find others.
    fn withdraw(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Leaves the application: nothing more is received. `for_good` also gives up the node's own durables.
    /// Returns when everything that was sent before has been handed over.
    fn leave(&self, for_good: bool) -> BoxFuture<'_, Result<(), Error>>;
}

/// How many messages wait in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// For the durables that this node consumes, and no other node that stays.
    pub here: usize,
    /// For durables that no node consumes now.
    pub nowhere: usize,
    /// How many other nodes are connected, and stay.
    pub others: usize,
}

/// The deliveries of one durable to one node.
pub trait Consumer: Send + 'static {
    /// The next delivery; `None` when the node has left. While `more` is false the transport is not asked for further
    /// messages, but those that are under way still arrive.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost when the future is dropped.
    fn next(&mut self, more: bool) -> BoxFuture<'_, Option<Consumed>>;

    /// Takes no more deliveries; gives those that have arrived and were not taken.
    fn close(&mut self) -> BoxFuture<'_, Vec<Delivery>>;
}

/// What a consumer receives.
#[derive(Debug)]
#[non_exhaustive]
pub enum Consumed {
    /// Messages that share one delivery.
    Delivery(Delivery),
    /// The durable fell behind what the store keeps, and something is gone for it.
    Lagged {
        /// How many messages. A store that no longer knows whom they were for, or how many shared a delivery, says how many
        /// deliveries it may have been at most.
        missed: u64,
    },
}

/// Messages that share one delivery: they are acknowledged together.
#[derive(Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// Tells this delivery from every other of the durable; the same when it is made again.
    pub sequence: u64,
    /// How often it has been made, this time included, but not those from which it came back untouched.
    pub deliveries: u32,
    /// The messages, or bytes that are none with the reason.
    pub messages: Result<Vec<Envelope>, (Bytes, Error)>,
    /// Settles it.
    pub settle: Arc<dyn Settle>,
}

impl Delivery {
    /// A delivery.
    pub fn new(
        sequence: u64,
        deliveries: u32,
        messages: Result<Vec<Envelope>, (Bytes, Error)>,
        settle: Arc<dyn Settle>,
    ) -> Self {
        Self { sequence, deliveries, messages, settle }
    }
}

/// Settles one delivery.
pub trait Settle: fmt::Debug + Send + Sync + 'static {
    /// Tells the store what became of the delivery. A sign that is lost leads to another delivery.
    fn settle(&self, settlement: Settlement) -> BoxFuture<'_, Result<(), Error>>;
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It is done: it is not made again.
    Acknowledge,
    /// Work goes on: the time that it may take starts again.
    Progress,
    /// It is to be made again, to whoever is there, when the delay has passed.
    GiveBack(Duration),
    /// Nothing of it was begun, and its node stops: it is to be made again, to whoever is there, in its place before all that
    /// comes behind it, and this time does not count. A store that counts every delivery may count it all the same: a
    /// message that comes back three times so is taken for one that may kill its process, and runs alone from then on.
    Untouched,
}
