//! One message as it stands in a frame.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};

use super::malformed;
use crate::{
    envelope::{Envelope, Headers, RequestPart, RetryPart},
    error::Error,
    id::MessageId,
    message::Kind,
};

/// Bytes that are written in one piece: serde takes those of a slice one by one.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Raw<'a>(#[serde(serialize_with = "in_one_piece")] pub(super) &'a [u8]);

fn in_one_piece<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// An envelope as it stands in a frame; borrowed, so that a payload is not copied on the way in. What is the same in nearly
/// all entries of a frame stands in the first of them.
#[derive(Serialize, Deserialize)]
pub(super) struct MessageEntry<'a> {
    id: MessageId,
    /// None is that of the entry before.
    name: Option<&'a str>,
    kind: Kind,
    /// None is that of the entry before.
    source: Option<&'a str>,
    /// None is the id itself.
    correlation: Option<MessageId>,
    causation: Option<MessageId>,
    time_ms: u64,
    headers: Cow<'a, Headers>,
    repeat: bool,
    sequence: u64,
    /// None is that of the entry before.
    incarnation: Option<u64>,
    request: Option<Cow<'a, RequestPart>>,
    retry: Option<Cow<'a, RetryPart>>,
    #[serde(borrow)]
    payload: Raw<'a>,
}

impl<'a> MessageEntry<'a> {
    pub(super) fn of(envelope: &'a Envelope, before: Option<&Envelope>) -> Self {
        Self {
            id: envelope.id,
            name: (before.is_none_or(|before| before.name != envelope.name)).then_some(&*envelope.name),
            kind: envelope.kind,
            source: (before.is_none_or(|before| before.source != envelope.source)).then_some(&*envelope.source),
            correlation: (envelope.correlation != envelope.id).then_some(envelope.correlation),
            causation: envelope.causation,
            time_ms: envelope.time_ms,
            headers: Cow::Borrowed(&envelope.headers),
            repeat: envelope.repeat,
            sequence: envelope.sequence,
            incarnation: (before.is_none_or(|before| before.incarnation != envelope.incarnation))
                .then_some(envelope.incarnation),
            request: envelope.request.as_deref().map(Cow::Borrowed),
            retry: envelope.retry.as_deref().map(Cow::Borrowed),
            payload: Raw(&envelope.payload),
        }
    }

    /// The envelope; its payload shares the memory of the frame that the entry was read from.
    pub(super) fn envelope(self, frame: &Bytes, before: &mut Before) -> Result<Envelope, Error> {
        self.headers.check()?;
        Ok(Envelope {
            id: self.id,
            name: or_before(self.name.map(Arc::from), &mut before.name)?,
            kind: self.kind,
            source: or_before(self.source.map(Arc::from), &mut before.source)?,
            correlation: self.correlation.unwrap_or(self.id),
            causation: self.causation,
            time_ms: self.time_ms,
            headers: self.headers.into_owned(),
            payload: frame.slice_ref(self.payload.0),
            repeat: self.repeat,
            sequence: self.sequence,
            incarnation: or_before(self.incarnation, &mut before.incarnation)?,
            request: self.request.map(|part| Box::new(part.into_owned())),
            retry: self.retry.map(|part| Box::new(part.into_owned())),
        })
    }
}

/// What the entries before had.
#[derive(Default)]
pub(super) struct Before {
    name: Option<Arc<str>>,
    source: Option<Arc<str>>,
    incarnation: Option<u64>,
}

fn or_before<T: Clone>(value: Option<T>, before: &mut Option<T>) -> Result<T, Error> {
    if value.is_some() {
        *before = value;
    }
    before.clone().ok_or_else(|| malformed("its first entry leaves out what stands in an entry before"))
}
