//! How payloads become bytes: JSON, so that any language reads what catga sends.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Error, ErrorKind};

pub(crate) fn encode<T: Serialize>(name: &str, value: &T) -> Result<Bytes, Error> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| Error::encode(name, error))
}

/// [`decode`] of what came from elsewhere: a panic in the type's own code is an error of this message alone.
pub(crate) fn decode_isolated<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, Error> {
    std::panic::catch_unwind(|| decode(name, bytes)).unwrap_or_else(|_| Err(panicked(name, "decoding")))
}

/// [`encode`] on behalf of a handler: a panic in the type's own code is an error of this message alone.
pub(crate) fn encode_isolated<T: Serialize>(name: &str, value: &T) -> Result<Bytes, Error> {
    let encoding = std::panic::AssertUnwindSafe(|| encode(name, value));
    std::panic::catch_unwind(encoding).unwrap_or_else(|_| Err(panicked(name, "encoding")))
}

fn panicked(name: &str, what: &str) -> Error {
    Error::not_started(ErrorKind::Codec, format!("{what} `{name}` panicked"))
}

pub(crate) fn decode<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::decode(name, error))
}
