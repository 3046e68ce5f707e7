//! The reliable events that handlers gave up: to look at, to run again, to delete.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    error::{Error, ErrorKind},
    id::MessageId,
    transport::{DeadContent, DeadLetter, Link, RetryPart},
};

/// The dead letters of an application; see [`Mediator::dead_letters`](crate::Mediator::dead_letters).
#[derive(Clone)]
pub struct DeadLetters(Arc<dyn Link>);

impl DeadLetters {
    pub(crate) fn new(link: Arc<dyn Link>) -> Self {
        Self(link)
    }

    /// The dead letters, oldest first: those behind the one named by `after`, at most `limit`.
    ///
    /// # Errors
    ///
    /// `Transport` if the store does not answer.
    pub async fn list(&self, after: Option<MessageId>, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.0.dead_letters(after, limit).await
    }

    /// One dead letter.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none with this id.
    pub async fn get(&self, id: MessageId) -> Result<DeadLetter, Error> {
        self.0.dead_letter(id).await?.ok_or_else(|| not_found(id))
    }

    /// Has the handler that gave up run again, from its first attempt, and deletes the dead letter.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none with this id or nobody consumes its durable any more; `Codec` if it cannot be read.
    ///
    /// # Cancellation
    ///
    /// The event may be stored and the dead letter still there: a second replay within two minutes does nothing more.
    pub async fn replay(&self, id: MessageId) -> Result<(), Error> {
        let letter = self.get(id).await?;
        let DeadContent::Message(envelope) = letter.content else {
            let text =
                format!("dead letter {id} holds bytes that are no message: it can only be looked at and deleted");
            return Err(Error::not_started(ErrorKind::Codec, text));
        };
        let mut envelope = *envelope;
        let replays = letter.replays.saturating_add(1);
        let again = |handler: Arc<str>| RetryPart {
            handler: handler.to_string(),
            attempt: 1,
            crashes: 0,
            declared: false,
            replays,
        };
        envelope.retry = letter.handler.map(again).map(Box::new);
        // Without a handler it is for all of them; those that have succeeded recognise it.
        envelope.repeat = true;
        let identity = MessageId::derived(&[b"replay", &id.as_u128().to_le_bytes(), &replays.to_le_bytes()]);
        self.0.store_for(&letter.durable, envelope, identity, Duration::ZERO).await?;
        self.0.delete_dead_letter(id).await.map(drop)
    }

    /// Deletes a dead letter.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none with this id.
    pub async fn delete(&self, id: MessageId) -> Result<(), Error> {
        match self.0.delete_dead_letter(id).await? {
            true => Ok(()),
            false => Err(not_found(id)),
        }
    }
}

#[cfg(feature = "nats")]
impl crate::transport::Nats {
    /// The dead letters of an application, for a tool that is no node of it.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), catga::Error> {
    /// let nats = catga::transport::Nats::connect("nats://localhost:4222").await?;
    /// for letter in nats.dead_letters("catga").await?.list(None, 100).await? {
    ///     println!("{} {}", letter.id, letter.failure);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `NotFound` if no node of this application has ever joined on this server; as
    /// [`connect`](crate::transport::Nats::connect) if it is not reached.
    pub async fn dead_letters(&self, app: &str) -> Result<DeadLetters, Error> {
        Ok(DeadLetters::new(self.operator(app).await?))
    }
}

fn not_found(id: MessageId) -> Error {
    Error::not_started(ErrorKind::NotFound, format!("there is no dead letter {id}"))
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeadLetters(..)")
    }
}
