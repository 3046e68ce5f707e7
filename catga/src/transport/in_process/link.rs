//! The way out of a node into the broker.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::{
    Settings, ask,
    command::{Command, From},
    gone,
};
use crate::{
    envelope::{Envelope, Reply},
    error::{Error, ErrorKind},
    frame,
    id::{MessageId, fingerprint},
    transport::{Backlog, DeadLetter, Link},
};

/// How often a store is tried whose confirmation does not come.
pub(super) const STORE_ATTEMPTS: u32 = 3;

pub(super) struct InProcessLink {
    pub(super) app: Arc<str>,
    pub(super) node: Arc<str>,
    pub(super) incarnation: u64,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) settings: Settings,
}

impl InProcessLink {
    fn from(&self) -> From {
        From { app: self.app.clone(), node: self.node.clone(), incarnation: self.incarnation }
    }

    async fn send(&self, command: Command) -> Result<(), Error> {
        self.commands.send(command).await.map_err(|_| gone())
    }

    /// Repeats a command of a fixed identity until it is confirmed.
    async fn confirmed<T>(&self, command: impl Fn(oneshot::Sender<T>) -> Command) -> Result<T, Error> {
        for _ in 0..STORE_ATTEMPTS {
            let (done, confirmation) = oneshot::channel();
            self.send(command(done)).await?;
            let wait = async {
                match confirmation.await {
                    Ok(answer) => answer,
                    // A fault swallowed it: silence, as on a real network.
                    Err(_) => std::future::pending().await,
                }
            };
            if let Ok(answer) = tokio::time::timeout(self.settings.store_timeout, wait).await {
                return Ok(answer);
            }
        }
        Err(Error::unknown(
            ErrorKind::TimedOut,
            format!(
                "the store did not confirm within {STORE_ATTEMPTS} attempts of {:?}: the message may be stored",
                self.settings.store_timeout
            ),
        ))
    }
}

impl Link for InProcessLink {
    fn max_payload(&self) -> usize {
        self.settings.max_payload
    }

    fn max_batch(&self) -> usize {
        self.settings.max_bytes
    }

    fn publish(&self, batch: Vec<Envelope>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let Some(name) = batch.first().map(|first| first.name.clone()) else { return Ok(()) };
            let frame = frame::encode_messages(&batch)?;
            self.send(Command::Publish { from: self.from(), name, frame }).await
        })
    }

    fn store(&self, batch: Vec<Envelope>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let Some(name) = batch.first().map(|first| first.name.clone()) else { return Ok(()) };
            let frame = frame::encode_messages(&batch)?;
            let identity = identity_of(&batch);
            self.confirmed(|done| Command::Store {
                from: self.from(),
                name: name.clone(),
                frame: frame.clone(),
                identity,
                done,
            })
            .await?
        })
    }

    fn store_for<'a>(
        &'a self,
        durable: &'a str,
        message: Envelope,
        identity: MessageId,
        delay: Duration,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let frame = frame::encode_messages(std::slice::from_ref(&message))?;
            let durable: Arc<str> = durable.into();
            self.confirmed(|done| Command::StoreFor {
                from: self.from(),
                durable: durable.clone(),
                frame: frame.clone(),
                identity: identity.as_u128(),
                delay,
                done,
            })
            .await?
        })
    }

    fn request<'a>(&'a self, node: &'a str, batch: Vec<Envelope>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let frame = frame::encode_messages(&batch)?;
            self.send(Command::Request { from: self.from(), to: node.into(), frame }).await
        })
    }

    fn reply<'a>(&'a self, node: &'a str, batch: Vec<Reply>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let frame = frame::encode_replies(&batch)?;
            self.send(Command::Reply { from: self.from(), to: node.into(), frame }).await
        })
    }

    fn announce(&self, announcement: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { self.send(Command::Announce { from: self.from(), announcement }).await })
    }

    fn bury(&self, letter: DeadLetter) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.confirmed(|done| Command::Bury { from: self.from(), letter: Box::new(letter.clone()), done }).await
        })
    }

    fn dead_letters(&self, after: Option<MessageId>, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, Error>> {
        Box::pin(ask(&self.commands, move |done| Command::DeadLetters { app: self.app.clone(), after, limit, done }))
    }

    fn dead_letter(&self, id: MessageId) -> BoxFuture<'_, Result<Option<DeadLetter>, Error>> {
        Box::pin(ask(&self.commands, move |done| Command::DeadLetter { app: self.app.clone(), id, done }))
    }

    fn delete_dead_letter(&self, id: MessageId) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(ask(&self.commands, move |done| Command::DeleteDeadLetter { app: self.app.clone(), id, done }))
    }

    fn backlog(&self) -> BoxFuture<'_, Result<Backlog, Error>> {
        Box::pin(ask(&self.commands, |done| Command::Backlog { from: self.from(), done }))
    }

    fn leave(&self, for_good: bool) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(ask(&self.commands, move |done| Command::Leave { from: self.from(), for_good, done }))
    }
}

/// The identity of a batch in the store: its name and the ids of its messages. Two types may share an id.
fn identity_of(batch: &[Envelope]) -> u128 {
    let name = batch.first().map_or("", |first| &first.name);
    let ids: Vec<u8> = batch.iter().flat_map(|envelope| envelope.id.as_u128().to_le_bytes()).collect();
    fingerprint(&[name.as_bytes(), &ids])
}
