//! How payloads become bytes: JSON, so that any language reads what catga sends.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::error::Error;

pub(crate) fn encode<T: Serialize>(name: &str, value: &T) -> Result<Bytes, Error> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| Error::encode(name, error))
}

pub(crate) fn decode<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::decode(name, error))
}
