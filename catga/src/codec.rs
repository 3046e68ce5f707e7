//! How payloads become bytes: JSON, so that any language reads what catga sends.

use std::{cell::Cell, panic::AssertUnwindSafe};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{Error, ErrorKind},
    message::AnyMessage,
};

/// The largest text that is written where the one before it was; a larger one keeps its memory.
const REUSED: usize = 16 * 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

pub(crate) fn encode<T: Serialize>(name: &str, value: &T) -> Result<Bytes, Error> {
    written(name, &|buffer| serde_json::to_writer(buffer, value))
}

/// What is the same for every type.
fn written(name: &str, write: &dyn Fn(&mut Vec<u8>) -> serde_json::Result<()>) -> Result<Bytes, Error> {
    // A type whose own code encodes something finds no buffer and makes one.
    let mut buffer = BUFFER.take();
    write(&mut buffer).map_err(|error| Error::encode(name, error))?;
    if buffer.len() > REUSED {
        return Ok(buffer.into());
    }
    let payload = Bytes::copy_from_slice(&buffer);
    buffer.clear();
    BUFFER.set(buffer);
    Ok(payload)
}

/// [`decode`] of what came from elsewhere: a panic in the type's own code is an error of this message alone.
pub(crate) fn decode_isolated<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, Error> {
    let mut decoded = None;
    isolated(&mut || decoded = Some(decode(name, bytes)));
    match decoded {
        Some(decoded) => decoded,
        None => Err(panicked(name, "decoding")),
    }
}

/// Encodes on behalf of a handler: a panic in the type's own code is an error of this message alone.
pub(crate) fn encode_isolated(message: &dyn AnyMessage) -> Result<Bytes, Error> {
    let mut encoded = None;
    isolated(&mut || encoded = Some(message.encode()));
    encoded.unwrap_or_else(|| Err(panicked(message.name(), "encoding")))
}

/// Ends early if the work panics. What it was to leave behind is then not there.
fn isolated(work: &mut dyn FnMut()) {
    drop(std::panic::catch_unwind(AssertUnwindSafe(work)));
}

fn panicked(name: &str, what: &str) -> Error {
    Error::not_started(ErrorKind::Codec, format!("{what} `{name}` panicked"))
}

pub(crate) fn decode<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, Error> {
    match serde_json::from_slice(bytes) {
        Ok(value) => Ok(value),
        Err(error) => Err(Error::decode(name, error)),
    }
}

/// The bytes of a JSON text in a form that does not depend on the order of its members: maps have none.
pub(crate) fn canonical(payload: &[u8]) -> Option<Vec<u8>> {
    fn write(value: &serde_json::Value, out: &mut Vec<u8>) {
        match value {
            serde_json::Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by_key(|(name, _)| *name);
                out.push(b'{');
                for (name, value) in members {
                    out.extend(name.len().to_le_bytes());
                    out.extend(name.as_bytes());
                    write(value, out);
                }
                out.push(b'}');
            }
            serde_json::Value::Array(items) => {
                out.push(b'[');
                items.iter().for_each(|item| write(item, out));
                out.push(b']');
            }
            scalar => {
                let text = scalar.to_string();
                out.extend(text.len().to_le_bytes());
                out.extend(text.as_bytes());
            }
        }
    }
    let mut out = Vec::new();
    write(&serde_json::from_slice(payload).ok()?, &mut out);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn the_order_of_members_does_not_matter_and_everything_else_does() {
        let same = [r#"{"a":1,"b":{"c":[1,2],"d":null}}"#, r#" { "b": {"d":null, "c":[1,2]}, "a":1 }"#];
        assert_eq!(canonical(same[0].as_bytes()), canonical(same[1].as_bytes()));
        for other in [r#"{"a":1,"b":{"c":[2,1],"d":null}}"#, r#"{"a":"1","b":{"c":[1,2],"d":null}}"#, "[]", "{}"] {
            assert_ne!(canonical(same[0].as_bytes()), canonical(other.as_bytes()), "{other}");
        }
        assert_eq!(canonical(b"no json"), None);
    }
}
