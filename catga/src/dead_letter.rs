//! What is kept of a reliable event that a handler could not handle.

use std::sync::Arc;

use bytes::Bytes;

use crate::{envelope::Envelope, error::Failure, id::MessageId};

/// A reliable event that one handler gave up, with everything that is needed to see why and to run it again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Names this dead letter: the same event given up by the same handler has the same id.
    pub id: MessageId,
    /// The durable that the event was delivered to.
    pub durable: Arc<str>,
    /// The handler that gave up; `None` if the message could not even be read.
    pub handler: Option<Arc<str>>,
    /// How often the handler ran.
    pub attempts: u32,
    /// How often it had been replayed before.
    pub replays: u32,
    /// How the last run ended.
    pub failure: Failure,
    /// The node on which it ended.
    pub node: Arc<str>,
    /// When, in milliseconds since 1970 on that node's clock.
    pub time_ms: u64,
    /// The event.
    pub content: DeadContent,
}

/// The event behind a dead letter.
#[derive(Clone, Debug)]
pub enum DeadContent {
    /// The event with its original metadata.
    Message(Box<Envelope>),
    /// Bytes that are no message in any form.
    Unreadable(Bytes),
}

impl DeadLetter {
    /// The event, if it could be read.
    pub fn message(&self) -> Option<&Envelope> {
        match &self.content {
            DeadContent::Message(envelope) => Some(envelope),
            DeadContent::Unreadable(_) => None,
        }
    }

    /// Roughly how many bytes it takes in a store.
    pub(crate) fn size(&self) -> usize {
        let content = match &self.content {
            DeadContent::Message(envelope) => envelope.size(),
            DeadContent::Unreadable(bytes) => bytes.len(),
        };
        content + self.failure.size() + 256
    }
}
