//! Messages in the forms in which they travel.

use async_nats::HeaderMap;
use bytes::Bytes;

use crate::{envelope::Envelope, error::Error, frame, id::MessageId};

/// A message as it arrived.
pub(super) struct Arrived<'a> {
    pub(super) name: &'a str,
    pub(super) headers: Option<&'a HeaderMap>,
    pub(super) payload: &'a Bytes,
    pub(super) id: MessageId,
}

pub(super) fn read(arrived: &Arrived<'_>) -> Result<Vec<Envelope>, Error> {
    frame::decode_messages(arrived.payload)
}
