//! Makes dead letters of the deliveries that the server gave up.
//!
//! That happens only to what ends the client before this code sees it, such as headers that it cannot read. The server
//! says so once, in an advisory; a stream keeps it until a node has stored the dead letter.

use std::{sync::Arc, time::Duration};

use async_nats::{Message, StatusCode, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    connection::Connection,
    dead::DeadLetters,
    names::{StreamKind, untoken},
    store::Store,
    streams::{REAPER, Streams},
    wire::{self, Arrived},
};
use crate::{
    error::{Error, Failure},
    id::{MessageId, now_millis},
    transport::{DeadContent, DeadLetter},
};

/// How long a question waits on the server.
const EXPIRES: Duration = Duration::from_secs(25);
/// The pause before the next question when something went wrong; an advisory that is not settled comes again meanwhile.
const PAUSE: Duration = Duration::from_secs(1);

/// The task of one node; the nodes of an application share the work.
pub(super) struct Reaper {
    pub(super) connection: Arc<Connection>,
    pub(super) streams: Streams,
    pub(super) letters: DeadLetters,
    pub(super) store: Store,
    pub(super) node: Arc<str>,
}

/// What the server says of a delivery that it gave up.
#[derive(Debug, Deserialize)]
struct Advisory {
    consumer: String,
    stream_seq: u64,
    #[serde(default)]
    deliveries: u32,
}

impl Reaper {
    /// Works until `closing` fires.
    pub(super) async fn run(self, closing: CancellationToken) {
        closing.run_until_cancelled(self.work()).await.unwrap_or_default();
    }

    async fn work(&self) {
        loop {
            let generation = self.connection.generation();
            let inbox = Subject::from(self.connection.client().new_inbox());
            match self.connection.subscribe(&inbox, None).await {
                Ok(subscriber) => self.serve(inbox, subscriber).await,
                Err(error) => tracing::debug!(target: "catga::nats", %error, "no subscription yet"),
            }
            self.connection.replaced(generation).await;
        }
    }

    /// Asks and works until the client is dead.
    async fn serve(&self, inbox: Subject, mut subscriber: Subscriber) {
        let ask_at: Subject =
            format!("$JS.API.CONSUMER.MSG.NEXT.{}.{REAPER}", self.streams.names.stream(StreamKind::Advisories)).into();
        let question = Bytes::from(json!({ "batch": 1, "expires": EXPIRES.as_nanos() as u64 }).to_string());
        loop {
            if self.connection.ask(ask_at.clone(), inbox.clone(), question.clone()).await.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
            match tokio::time::timeout(EXPIRES + PAUSE, subscriber.next()).await {
                Ok(None) => return,
                Ok(Some(message)) => self.receive(message).await,
                // The question is lost.
                Err(_) => {}
            }
        }
    }

    async fn receive(&self, message: Message) {
        match message.status {
            None | Some(StatusCode::OK) => {}
            Some(StatusCode::TIMEOUT | StatusCode::NOT_FOUND) => return,
            Some(_) => {
                // The stream or its consumer is gone.
                if let Err(error) = self.streams.ensure_reaper().await {
                    tracing::warn!(target: "catga::nats", %error, "what the server gives up is not seen now");
                }
                return tokio::time::sleep(PAUSE).await;
            }
        }
        let buried = match serde_json::from_slice::<Advisory>(&message.payload) {
            Ok(advisory) => self.bury(&advisory).await,
            // It says nothing that could be acted on.
            Err(_) => Ok(()),
        };
        match (buried, message.reply) {
            // An acknowledgement that is lost leads to the same letters once more, under the same ids.
            (Ok(()), Some(reply)) => drop(self.connection.publish(reply, Bytes::from_static(b"+ACK")).await),
            (Ok(()), None) => {}
            (Err(error), _) => {
                tracing::warn!(target: "catga::nats", %error, "what the server gave up is not a dead letter yet");
            }
        }
    }

    async fn bury(&self, advisory: &Advisory) -> Result<(), Error> {
        let durable: Arc<str> = untoken(&advisory.consumer).into();
        let number = advisory.stream_seq;
        tracing::error!(
            target: "catga::nats", %durable, number, deliveries = advisory.deliveries,
            "the server gave up a delivery: it becomes a dead letter"
        );
        let question = json!({ "seq": number });
        let Some(kept) = self.letters.get(StreamKind::Events, &question).await? else {
            // It has fallen off the stream since.
            return Ok(());
        };
        let name = self.streams.names.type_of("reliable", &kept.subject).unwrap_or_default();
        let id = MessageId::derived(&[b"gave up", durable.as_bytes(), &number.to_le_bytes(), kept.time.as_bytes()]);
        let arrived = Arrived { name, headers: None, payload: &kept.payload, id };
        let contents = match wire::read(&arrived) {
            Ok(messages) => messages.into_iter().map(|message| DeadContent::Message(Box::new(message))).collect(),
            Err(_) => vec![DeadContent::Unreadable(kept.payload.clone())],
        };
        for (index, content) in contents.into_iter().enumerate() {
            let retry = match &content {
                DeadContent::Message(message) => message.retry.clone(),
                DeadContent::Unreadable(_) => None,
            };
            let deliveries = advisory.deliveries;
            let text =
                format!("{deliveries} deliveries of it ended without an answer: it may end the connection of its node");
            let letter = DeadLetter {
                id: MessageId::derived(&[&id.as_u128().to_le_bytes(), &index.to_le_bytes()]),
                durable: durable.clone(),
                handler: retry.as_ref().map(|retry| retry.handler.as_str().into()),
                attempts: retry.as_ref().map_or(0, |retry| retry.attempt.saturating_sub(1)),
                replays: retry.map_or(0, |retry| retry.replays),
                failure: Failure::new("deliveries", text),
                node: self.node.clone(),
                time_ms: now_millis(),
                content,
            };
            self.letters.bury(&self.store, &letter).await?;
        }
        Ok(())
    }
}
