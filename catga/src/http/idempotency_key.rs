//! The header `Idempotency-Key`: a client that repeats a request under its key is answered, and nothing is done twice.

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};

use super::problem::Problem;
use crate::sending::SendOptions;

/// The longest key, in characters: a UUID has 36, a hash of 512 bits 128.
pub const MAX_KEY: usize = 255;

const NAME: &str = "idempotency-key";

/// The header `Idempotency-Key`, if the client sent one: 1 to 255 visible ASCII characters, taken as they are.
///
/// A header that is malformed or there twice is refused with 400. It becomes [`SendOptions`]:
///
/// ```
/// use catga::{SendOptions, http::IdempotencyKey};
///
/// let options: SendOptions = IdempotencyKey(Some("4f2b".to_owned())).into();
/// assert_eq!(options.key.as_deref(), Some("4f2b"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdempotencyKey(pub Option<String>);

impl From<IdempotencyKey> for SendOptions {
    fn from(key: IdempotencyKey) -> Self {
        Self { key: key.0, ..Self::default() }
    }
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(NAME).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        if values.next().is_some() {
            return Err(malformed("there is more than one"));
        }
        let key = value.as_bytes();
        if key.is_empty() || key.len() > MAX_KEY || !key.iter().all(u8::is_ascii_graphic) {
            return Err(malformed(&format!("it must be 1 to {MAX_KEY} visible ASCII characters without a space")));
        }
        // It is ASCII.
        Ok(Self(Some(String::from_utf8_lossy(key).into_owned())))
    }
}

fn malformed(why: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed_key", format!("the header `Idempotency-Key` is refused: {why}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use axum::http::{HeaderValue, Request};

    use super::*;

    async fn extract(values: &[&[u8]]) -> Result<Option<String>, StatusCode> {
        let mut request = Request::new(());
        for value in values {
            request.headers_mut().append("Idempotency-Key", HeaderValue::from_bytes(value).unwrap());
        }
        let key = IdempotencyKey::from_request_parts(&mut request.into_parts().0, &()).await;
        key.map(|key| key.0).map_err(|problem| problem.status())
    }

    #[tokio::test]
    async fn a_key_is_taken_as_it_is_and_may_be_missing() {
        assert_eq!(extract(&[]).await, Ok(None));
        assert_eq!(extract(&[b"\"4f2b-91\""]).await, Ok(Some("\"4f2b-91\"".to_owned())));
        assert_eq!(extract(&[&[b'k'; MAX_KEY]]).await, Ok(Some("k".repeat(MAX_KEY))));
    }

    #[tokio::test]
    async fn a_malformed_or_repeated_key_is_refused() {
        for values in
            [&[&b""[..]][..], &[b"a b"], &["schlüssel".as_bytes()], &[b"\xff"], &[&[b'k'; 256]], &[b"a", b"a"]]
        {
            assert_eq!(extract(values).await, Err(StatusCode::BAD_REQUEST), "{values:?}");
        }
    }
}
