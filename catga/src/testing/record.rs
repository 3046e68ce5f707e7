//! What nodes did, in the order in which they did it.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{delivery::observe::Occurrence, id::MessageId, message::Message};

/// One thing that a node did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// When, after the harness was made, on tokio's clock.
    pub at: Duration,
    /// The node that did it.
    pub node: Arc<str>,
    /// The name of the message type.
    pub message: Arc<str>,
    /// The message.
    pub id: MessageId,
    /// What was done with it.
    pub occurrence: Occurrence,
}

/// What nodes did; each method keeps a part of it.
#[derive(Clone, Debug, Default)]
pub struct Record(Vec<Entry>);

impl Record {
    /// The entries, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// How many entries there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    fn keep(mut self, keep: impl Fn(&Entry) -> bool) -> Self {
        self.0.retain(keep);
        self
    }

    /// What happened on a node.
    #[must_use]
    pub fn on(self, node: &str) -> Self {
        self.keep(|entry| *entry.node == *node)
    }

    /// What happened with messages of a type.
    #[must_use]
    pub fn of<M: Message>(self) -> Self {
        self.keep(|entry| *entry.message == *M::NAME)
    }

    /// What happened with one message.
    #[must_use]
    pub fn with_id(self, id: MessageId) -> Self {
        self.keep(|entry| entry.id == id)
    }

    /// What a handler did, by its name.
    #[must_use]
    pub fn by(self, name: &str) -> Self {
        self.keep(|entry| match &entry.occurrence {
            Occurrence::Handled { handler, .. }
            | Occurrence::Failed { handler, .. }
            | Occurrence::Duplicate { handler }
            | Occurrence::DeadLettered { handler: Some(handler), .. } => **handler == *name,
            _ => false,
        })
    }

    /// Messages of a type that callers sent or published.
    #[must_use]
    pub fn sent<M: Message>(self) -> Self {
        self.of::<M>().keep(|entry| matches!(entry.occurrence, Occurrence::Sent))
    }

    /// Messages of a type that left because their handler had succeeded.
    #[must_use]
    pub fn emitted<M: Message>(self) -> Self {
        self.of::<M>().keep(|entry| matches!(entry.occurrence, Occurrence::Emitted))
    }

    /// Runs of handlers of a type that succeeded.
    #[must_use]
    pub fn handled<M: Message>(self) -> Self {
        self.of::<M>().keep(|entry| matches!(entry.occurrence, Occurrence::Handled { .. }))
    }

    /// Runs of handlers of a type that failed.
    #[must_use]
    pub fn failed<M: Message>(self) -> Self {
        self.of::<M>().keep(|entry| matches!(entry.occurrence, Occurrence::Failed { .. }))
    }

    /// Messages of a type that became dead letters.
    #[must_use]
    pub fn dead_lettered<M: Message>(self) -> Self {
        self.of::<M>().keep(|entry| matches!(entry.occurrence, Occurrence::DeadLettered { .. }))
    }

    /// Messages of a type that were recognised as repeats.
    #[must_use]
    pub fn duplicates<M: Message>(self) -> Self {
        self.of::<M>().keep(|entry| matches!(entry.occurrence, Occurrence::Duplicate { .. }))
    }

    pub(super) fn push(
        &mut self,
        start: Instant,
        node: &Arc<str>,
        message: &str,
        id: MessageId,
        occurrence: Occurrence,
    ) {
        let entry = Entry { at: start.elapsed(), node: node.clone(), message: message.into(), id, occurrence };
        self.0.push(entry);
    }
}
