//! How payloads become bytes: JSON, so that any language reads what catga sends.

use std::cell::Cell;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Error, ErrorKind};

/// The largest text that is written where the one before it was; a larger one keeps its memory.
const REUSED: usize = 16 * 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

pub(crate) fn encode<T: Serialize>(name: &str, value: &T) -> Result<Bytes, Error> {
    // A type whose own code encodes something finds no buffer and makes one.
    let mut buffer = BUFFER.take();
    serde_json::to_writer(&mut buffer, value).map_err(|error| Error::encode(name, error))?;
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
