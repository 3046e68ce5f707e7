//! Dead letters: each the only message of its subject, in a stream of their own.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::{
    api::{Api, Refusal},
    names::{Names, StreamKind},
    store::{Parcel, Store},
};
use crate::{
    error::{Error, ErrorKind, Failure},
    frame,
    id::MessageId,
    transport::{DeadContent, DeadLetter},
};

/// What the headers of a dead letter take, at most.
const HEADERS: usize = 1_024;
/// What the words that say so take in a letter that is cut.
const SAYING_SO: usize = 256;

/// The dead letters of an application.
#[derive(Clone)]
pub(super) struct DeadLetters {
    pub(super) api: Api,
    pub(super) names: Names,
}

/// A stored message, as the server gives it when asked for one.
pub(super) struct Kept {
    pub(super) sequence: u64,
    pub(super) subject: String,
    /// When it was stored, as the server writes it.
    pub(super) time: String,
    pub(super) payload: Bytes,
}

#[derive(Deserialize)]
struct Found {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    seq: u64,
    subject: String,
    #[serde(default)]
    time: String,
    #[serde(default)]
    data: String,
}

/// A letter without the end of its event, shorter by so many bytes: an event of another program may be as large as a
/// message can be, and leave no room for what is said of it.
fn cut(letter: &DeadLetter, excess: usize) -> DeadLetter {
    let bytes = match &letter.content {
        DeadContent::Message(event) => &event.payload,
        DeadContent::Unreadable(bytes) => bytes,
    };
    let kept = bytes.slice(..bytes.len().saturating_sub(excess + SAYING_SO));
    let failure = &letter.failure;
    let text = format!("{} bytes, of which the first {} are kept: {}", bytes.len(), kept.len(), failure.message());
    let failure = Failure::new(failure.code().to_owned(), text);
    DeadLetter { failure, content: DeadContent::Unreadable(kept), ..letter.clone() }
}

impl DeadLetters {
    /// Stores a letter; the same id is stored once.
    pub(super) async fn bury(&self, store: &Store, letter: &DeadLetter) -> Result<(), Error> {
        let id = letter.id.to_string();
        let mut payload = frame::dead::encode_dead(letter)?;
        let room = store.mux.connection().max_payload().saturating_sub(HEADERS);
        if payload.len() > room {
            let letter = cut(letter, payload.len() - room);
            tracing::error!(
                target: "catga::nats", id, durable = %letter.durable,
                "an event is so large that its dead letter does not fit into a message: only its start is kept"
            );
            payload = frame::dead::encode_dead(&letter)?;
        }
        let parcel = Parcel { subject: self.names.dead(&id), id, delay: Duration::ZERO, payload };
        store.put(&parcel).await.map(drop)
    }

    /// The letters behind the one with this number, oldest first.
    pub(super) async fn list(&self, behind: u64, limit: usize) -> Result<Vec<(u64, DeadLetter)>, Error> {
        let mut letters = Vec::new();
        let mut behind = behind;
        while letters.len() < limit {
            let question = json!({ "seq": behind + 1, "next_by_subj": self.names.all("dead").as_str() });
            let Some(kept) = self.get(StreamKind::Dead, &question).await? else { break };
            behind = kept.sequence;
            match frame::dead::decode_dead(&kept.payload) {
                // One under another id's subject could not be found by its own.
                Ok(letter) if kept.subject != *self.names.dead(&letter.id.to_string()) => {
                    tracing::warn!(target: "catga::nats", sequence = kept.sequence, "what is no dead letter of a node is left out");
                }
                Ok(letter) => letters.push((kept.sequence, letter)),
                Err(error) => {
                    tracing::warn!(target: "catga::nats", sequence = kept.sequence, %error, "a dead letter cannot be read and is left out");
                }
            }
        }
        Ok(letters)
    }

    /// One letter, and its number.
    pub(super) async fn find(&self, id: MessageId) -> Result<Option<(u64, DeadLetter)>, Error> {
        let question = json!({ "last_by_subj": self.names.dead(&id.to_string()).as_str() });
        let Some(kept) = self.get(StreamKind::Dead, &question).await? else { return Ok(None) };
        Ok(Some((kept.sequence, frame::dead::decode_dead(&kept.payload)?)))
    }

    /// Deletes a letter; says whether it was there.
    pub(super) async fn delete(&self, id: MessageId) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Purged {
            purged: u64,
        }
        let what = format!("STREAM.PURGE.{}", self.names.stream(StreamKind::Dead));
        let body = json!({ "filter": self.names.dead(&id.to_string()).as_str() });
        let purged: Purged = self.api.call(&what, &body).await.map_err(|failed| failed.into_error(&what))?;
        Ok(purged.purged > 0)
    }

    /// Asks for one message of a stream. It comes inside JSON: headers that no client can read do no harm.
    pub(super) async fn get(&self, kind: StreamKind, question: &serde_json::Value) -> Result<Option<Kept>, Error> {
        let what = format!("STREAM.MSG.GET.{}", self.names.stream(kind));
        let found: Found = match self.api.call(&what, question).await {
            Ok(found) => found,
            Err(failed) if failed.is(Refusal::MESSAGE_NOT_FOUND) => return Ok(None),
            Err(failed) => return Err(failed.into_error(&what)),
        };
        let Message { seq: sequence, subject, time, data } = found.message;
        let payload = STANDARD.decode(&data).map_err(|error| {
            Error::not_started(ErrorKind::Codec, format!("message {sequence} of the stream cannot be read: {error}"))
        })?;
        Ok(Some(Kept { sequence, subject, time, payload: payload.into() }))
    }
}
