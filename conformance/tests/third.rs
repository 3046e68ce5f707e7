//! A transport from outside of catga, held to the contract: all that its author needs is public.
//!
//! It carries what the transport inside one process carries, and reads and writes every message as a frame on its way, as one
//! with a network would.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use catga::{
    Error, Limits, MessageId,
    transport::{
        Backlog, Capabilities, DeadLetter, Envelope, Joined, Link, Registration, Reply, Transport,
        frame::{decode_dead, decode_messages, decode_replies, encode_dead, encode_messages, encode_replies},
    },
};
use catga_conformance::{Faults, InProcessSubject, Pace, Subject, conformance_tests};
use futures_util::future::BoxFuture;

/// The transport.
struct Framed(Arc<dyn Transport>);

impl Transport for Framed {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn join(&self, node: Registration) -> BoxFuture<'_, Result<Joined, Error>> {
        Box::pin(async move {
            let joined = self.0.join(node).await?;
            Ok(Joined::new(Arc::new(FramedLink(joined.link)), joined.inbox, joined.consumers))
        })
    }
}

/// The way out of a node.
struct FramedLink(Arc<dyn Link>);

fn messages(batch: &[Envelope]) -> Result<Vec<Envelope>, Error> {
    decode_messages(&encode_messages(batch)?)
}

impl Link for FramedLink {
    fn max_payload(&self) -> usize {
        self.0.max_payload()
    }

    fn publish(&self, batch: Vec<Envelope>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { self.0.publish(messages(&batch)?).await })
    }

    fn store(&self, batch: Vec<Envelope>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { self.0.store(messages(&batch)?).await })
    }

    fn store_for<'a>(
        &'a self,
        durable: &'a str,
        message: Envelope,
        identity: MessageId,
        delay: Duration,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for message in messages(&[message])? {
                self.0.store_for(durable, message, identity, delay).await?;
            }
            Ok(())
        })
    }

    fn request<'a>(&'a self, node: &'a str, batch: Vec<Envelope>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.0.request(node, messages(&batch)?).await })
    }

    fn reply<'a>(&'a self, node: &'a str, batch: Vec<Reply>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.0.reply(node, decode_replies(&encode_replies(&batch)?)?).await })
    }

    fn announce(&self, announcement: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        self.0.announce(announcement)
    }

    fn bury(&self, letter: DeadLetter) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { self.0.bury(decode_dead(&encode_dead(&letter)?)?).await })
    }

    fn dead_letters(&self, after: Option<MessageId>, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, Error>> {
        self.0.dead_letters(after, limit)
    }

    fn dead_letter(&self, id: MessageId) -> BoxFuture<'_, Result<Option<DeadLetter>, Error>> {
        self.0.dead_letter(id)
    }

    fn delete_dead_letter(&self, id: MessageId) -> BoxFuture<'_, Result<bool, Error>> {
        self.0.delete_dead_letter(id)
    }

    fn backlog(&self) -> BoxFuture<'_, Result<Backlog, Error>> {
        self.0.backlog()
    }

    fn leave(&self, for_good: bool) -> BoxFuture<'_, Result<(), Error>> {
        self.0.leave(for_good)
    }
}

/// The transport with an empty store. Its faults are those of what it wraps.
struct FramedSubject(InProcessSubject);

impl Subject for FramedSubject {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(Framed(self.0.transport()))
    }

    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn pace(&self) -> Pace {
        self.0.pace()
    }

    fn patience(&self) -> Duration {
        self.0.patience()
    }

    fn under_way(&self) -> usize {
        self.0.under_way()
    }

    fn faults(&self) -> &dyn Faults {
        self.0.faults()
    }
}

conformance_tests!(Virtual, FramedSubject(InProcessSubject::new()));
