//! A transport around another one: everything is passed on, past hooks that see it and may interfere.
//!
//! What records a history and what breaks a transport are hooks, so neither repeats the contract.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use catga::{
    Error, MessageId,
    transport::{
        Backlog, Capabilities, DeadLetter, Delivery, Envelope, Joined, Link, Registration, Reply, Settlement, Transport,
    },
};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::hooked_consumer::HookedConsumer;

/// Where a delivery arrives.
#[derive(Clone, Debug)]
pub struct Place {
    pub node: Arc<str>,
    pub durable: Arc<str>,
    /// Whether nodes share the durable.
    pub shared: bool,
}

/// Sees what passes between a node and its transport; by default passes it on as it is.
pub trait Hooks: Send + Sync + 'static {
    /// A node that has joined.
    fn joined(&self, _node: &str, _: &Arc<dyn Link>) {}

    /// Events of QoS 0 before they leave.
    fn publishing(&self, _node: &str, _: &mut Vec<Envelope>) {}

    /// Reliable events before they are stored; of what is removed, the caller is told that it was.
    fn storing(&self, _node: &str, _: &mut Vec<Envelope>) {}

    /// A message before it is stored for one durable.
    fn storing_for(&self, _node: &str, _durable: &str, _: &mut Envelope, _: &mut Duration) {}

    /// A dead letter before it is stored.
    fn burying(&self, _node: &str, _: &mut DeadLetter) {}

    /// Requests before they leave.
    fn requesting(&self, _node: &str, _to: &str, _: &mut Vec<Envelope>) {}

    /// A further node that gets the requests to this one.
    fn also_to(&self, _to: &str) -> Option<&'static str> {
        None
    }

    /// What a node says of itself; `false` keeps it from the others.
    fn announcing(&self, _node: &str, _: &mut Bytes) -> bool {
        true
    }

    /// Whether a consumer asks its transport for more.
    fn asking(&self, _: &Place, more: bool) -> bool {
        more
    }

    /// Replies before they leave.
    fn replying(&self, _node: &str, _to: &str, _: &mut Vec<Reply>) {}

    /// A delivery before the node gets it; `None` keeps it from the node.
    fn delivering(self: Arc<Self>, _: &Place, delivery: Delivery) -> BoxFuture<'static, Option<Delivery>> {
        Box::pin(async move { Some(delivery) })
    }

    /// What had arrived when the node stopped taking, and goes to it as the rest.
    fn draining(&self, _: &Place, rest: Vec<Delivery>) -> Vec<Delivery> {
        rest
    }

    /// A further source of deliveries for a place.
    fn extra(&self, _: &Place) -> Option<mpsc::Receiver<Delivery>> {
        None
    }

    /// What the node says of a delivery; `false` keeps it from the store.
    fn settling(&self, _: &Place, _sequence: u64, _: Settlement) -> bool {
        true
    }
}

/// A transport with hooks around it.
pub struct Hooked<H> {
    inner: Arc<dyn Transport>,
    hooks: Arc<H>,
}

impl<H: Hooks> Hooked<H> {
    pub fn around(inner: Arc<dyn Transport>, hooks: H) -> Arc<dyn Transport> {
        Arc::new(Self { inner, hooks: Arc::new(hooks) })
    }
}

/// A transport behind a pointer, for a builder.
#[derive(Clone)]
pub struct Shared(pub Arc<dyn Transport>);

impl Transport for Shared {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn join(&self, node: Registration) -> BoxFuture<'_, Result<Joined, Error>> {
        self.0.join(node)
    }
}

impl<H: Hooks> Transport for Hooked<H> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn join(&self, registration: Registration) -> BoxFuture<'_, Result<Joined, Error>> {
        Box::pin(async move {
            let mut joined = self.inner.join(registration.clone()).await?;
            let node = registration.node;
            self.hooks.joined(&node, &joined.link);
            let link = HookedLink { inner: joined.link, hooks: self.hooks.clone(), node: node.clone() };
            let places = registration.durables.into_iter().map(|durable| Place {
                node: node.clone(),
                durable: durable.name,
                shared: durable.shared,
            });
            let consumers = places
                .zip(joined.consumers.drain(..))
                .map(|(place, inner)| Box::new(HookedConsumer::new(inner, self.hooks.clone(), place)) as _);
            Ok(Joined::new(Arc::new(link), joined.inbox, consumers.collect()))
        })
    }
}

struct HookedLink<H> {
    inner: Arc<dyn Link>,
    hooks: Arc<H>,
    node: Arc<str>,
}

impl<H: Hooks> Link for HookedLink<H> {
    fn max_payload(&self) -> usize {
        self.inner.max_payload()
    }

    fn max_batch(&self) -> usize {
        self.inner.max_batch()
    }

    fn publish(&self, mut batch: Vec<Envelope>) -> BoxFuture<'_, Result<(), Error>> {
        self.hooks.publishing(&self.node, &mut batch);
        self.inner.publish(batch)
    }

    fn store(&self, mut batch: Vec<Envelope>) -> BoxFuture<'_, Result<(), Error>> {
        self.hooks.storing(&self.node, &mut batch);
        self.inner.store(batch)
    }

    fn store_for<'a>(
        &'a self,
        durable: &'a str,
        mut message: Envelope,
        identity: MessageId,
        mut delay: Duration,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.hooks.storing_for(&self.node, durable, &mut message, &mut delay);
        self.inner.store_for(durable, message, identity, delay)
    }

    fn request<'a>(&'a self, node: &'a str, mut batch: Vec<Envelope>) -> BoxFuture<'a, Result<(), Error>> {
        self.hooks.requesting(&self.node, node, &mut batch);
        Box::pin(async move {
            if let Some(other) = self.hooks.also_to(node) {
                self.inner.request(other, batch.clone()).await?;
            }
            self.inner.request(node, batch).await
        })
    }

    fn reply<'a>(&'a self, node: &'a str, mut batch: Vec<Reply>) -> BoxFuture<'a, Result<(), Error>> {
        self.hooks.replying(&self.node, node, &mut batch);
        self.inner.reply(node, batch)
    }

    fn announce(&self, mut announcement: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        match self.hooks.announcing(&self.node, &mut announcement) {
            true => self.inner.announce(announcement),
            false => Box::pin(async { Ok(()) }),
        }
    }

    fn bury(&self, mut letter: DeadLetter) -> BoxFuture<'_, Result<(), Error>> {
        self.hooks.burying(&self.node, &mut letter);
        self.inner.bury(letter)
    }

    fn dead_letters(&self, after: Option<MessageId>, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, Error>> {
        self.inner.dead_letters(after, limit)
    }

    fn dead_letter(&self, id: MessageId) -> BoxFuture<'_, Result<Option<DeadLetter>, Error>> {
        self.inner.dead_letter(id)
    }

    fn delete_dead_letter(&self, id: MessageId) -> BoxFuture<'_, Result<bool, Error>> {
        self.inner.delete_dead_letter(id)
    }

    fn backlog(&self) -> BoxFuture<'_, Result<Backlog, Error>> {
        self.inner.backlog()
    }

    fn health(&self) -> Result<(), Error> {
        self.inner.health()
    }

    fn withdraw(&self) -> BoxFuture<'_, ()> {
        self.inner.withdraw()
    }

    fn leave(&self, for_good: bool) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.leave(for_good)
    }
}
