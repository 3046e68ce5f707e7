//! A way out of a node that does what a test wants it to.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use catga::{
    Error, MessageId,
    transport::{Backlog, Capabilities, DeadLetter, Envelope, InProcess, Joined, Link, Registration, Reply, Transport},
};
use futures_util::future::BoxFuture;

/// What a node is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Store,
    StoreFor,
    Request,
}

/// Comes before each step, which is taken only if it succeeds.
pub(super) type Before = Arc<dyn Fn(Step) -> BoxFuture<'static, Result<(), Error>> + Send + Sync>;

/// A link with something before it.
pub(super) struct Guarded {
    pub(super) inner: Arc<dyn Link>,
    pub(super) before: Before,
}

/// A broker whose nodes have such links.
pub(super) struct GuardedBroker {
    pub(super) inner: InProcess,
    pub(super) before: Before,
}

impl Transport for GuardedBroker {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn join(&self, node: Registration) -> BoxFuture<'_, Result<Joined, Error>> {
        Box::pin(async move {
            let mut joined = self.inner.join(node).await?;
            joined.link = Arc::new(Guarded { inner: joined.link, before: self.before.clone() });
            Ok(joined)
        })
    }
}

impl Guarded {
    fn guard<'a>(&self, step: Step, rest: BoxFuture<'a, Result<(), Error>>) -> BoxFuture<'a, Result<(), Error>> {
        let before = (self.before)(step);
        Box::pin(async move {
            before.await?;
            rest.await
        })
    }
}

impl Link for Guarded {
    fn max_payload(&self) -> usize {
        self.inner.max_payload()
    }

    fn publish(&self, batch: Vec<Envelope>) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.publish(batch)
    }

    fn store(&self, batch: Vec<Envelope>) -> BoxFuture<'_, Result<(), Error>> {
        self.guard(Step::Store, self.inner.store(batch))
    }

    fn store_for<'a>(
        &'a self,
        durable: &'a str,
        message: Envelope,
        identity: MessageId,
        delay: Duration,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.guard(Step::StoreFor, self.inner.store_for(durable, message, identity, delay))
    }

    fn request<'a>(&'a self, node: &'a str, batch: Vec<Envelope>) -> BoxFuture<'a, Result<(), Error>> {
        self.guard(Step::Request, self.inner.request(node, batch))
    }

    fn reply<'a>(&'a self, node: &'a str, batch: Vec<Reply>) -> BoxFuture<'a, Result<(), Error>> {
        self.inner.reply(node, batch)
    }

    fn announce(&self, announcement: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.announce(announcement)
    }

    fn bury(&self, letter: DeadLetter) -> BoxFuture<'_, Result<(), Error>> {
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

    fn leave(&self, for_good: bool) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.leave(for_good)
    }
}
