//! A JSON body whose refusals say what is wrong with it, as JSON problems.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The largest body unless the type says otherwise: 64 KiB, far above any form that people fill in.
pub const MAX_BODY: usize = 64 * 1024;

/// How long a body may take to arrive: 10 s. A client that is slower holds a connection and does no work.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest text of the parser that is passed on: it quotes what the client sent.
const MAX_DETAIL: usize = 300;

/// A JSON body of at most `LIMIT` bytes.
///
/// Refused are: another content type (415), a larger body (413), one that does not arrive in time (408), malformed JSON
/// (400), and JSON that is not a `T` (422). A `T` with `#[serde(deny_unknown_fields)]` refuses misspelt fields.
///
/// ```
/// use catga::http::Json;
///
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct NewOrder { sku: String, quantity: std::num::NonZeroU32 }
///
/// async fn place(Json(order): Json<NewOrder, 4096>) -> String {
///     format!("{} of {}", order.quantity, order.sku)
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T, const LIMIT: usize = MAX_BODY>(pub T);

impl<T: DeserializeOwned, S: Sync, const LIMIT: usize> FromRequest<S> for Json<T, LIMIT> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !has_json(request.headers()) {
            let detail = "the body must be JSON: send `Content-Type: application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
        }
        let declared = request.headers().get(header::CONTENT_LENGTH);
        let declared = declared.and_then(|length| length.to_str().ok()?.parse().ok());
        if declared.is_some_and(|length: u64| length > LIMIT as u64) {
            return Err(too_large(LIMIT));
        }
        let read = tokio::time::timeout(BODY_TIMEOUT, read(request.into_body(), LIMIT));
        let body = read.await.unwrap_or_else(|_| {
            let detail = format!("the body did not arrive within {BODY_TIMEOUT:?}");
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail))
        })?;
        serde_json::from_slice(&body).map(Self).map_err(|error| unfit(&body, &error))
    }
}

/// `application/json`, or a type that is written in JSON such as `application/vnd.shop+json`.
fn has_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.strip_prefix("application/").is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

async fn read(body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| {
            Problem::new(StatusCode::BAD_REQUEST, "incomplete_body", "the body ended before it was complete")
        })?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body is larger than {limit} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

fn unfit(body: &[u8], error: &serde_json::Error) -> Problem {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Problem::new(StatusCode::BAD_REQUEST, "malformed_json", "the body is empty; JSON is expected");
    }
    let (status, code, what) = match error.is_data() {
        true => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", "the body is not what is expected here"),
        false => (StatusCode::BAD_REQUEST, "malformed_json", "the body is not JSON"),
    };
    let mut detail = format!("{what}: {error}");
    if let Some((end, _)) = detail.char_indices().nth(MAX_DETAIL) {
        detail.truncate(end);
        detail.push('…');
    }
    let place = serde_json::json!({ "line": error.line(), "column": error.column() });
    Problem::new(status, code, detail).details(place)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::num::NonZeroU32;

    use bytes::Bytes;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NewOrder {
        sku: String,
        quantity: NonZeroU32,
    }

    async fn extract(kind: &str, body: impl Into<Body>) -> Result<NewOrder, (u16, String)> {
        let request = Request::builder().header("content-type", kind).body(body.into()).unwrap();
        let order = Json::<NewOrder, 100>::from_request(request, &()).await;
        order.map(|order| order.0).map_err(|problem| (problem.status().as_u16(), problem.detail().to_owned()))
    }

    async fn refused(body: impl Into<Body>) -> (u16, String) {
        extract("application/json", body).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_body_that_fits_is_read() {
        let body = r#"{"sku":"tea","quantity":2}"#;
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.shop+json"] {
            let order = extract(kind, body).await.unwrap();
            assert_eq!((&*order.sku, order.quantity.get()), ("tea", 2));
        }
    }

    #[tokio::test]
    async fn another_content_type_is_refused() {
        for kind in ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json"] {
            assert_eq!(extract(kind, "{}").await.unwrap_err().0, 415, "{kind}");
        }
    }

    #[tokio::test]
    async fn malformed_json_is_refused_with_its_place() {
        for body in ["{\"sku\":", "{'sku':1}", "", "  ", "{\"sku\":\"tea\",\"quantity\":2} {}"] {
            assert_eq!(refused(body).await.0, 400, "{body}");
        }
        let (_, detail) = refused("{\n  \"sku\": tea\n}").await;
        assert!(detail.contains("line 2 column"), "{detail}");
    }

    #[tokio::test]
    async fn json_that_does_not_fit_is_refused_with_what_is_wrong() {
        for (body, wrong) in [
            (r#"{"sku":"tea"}"#, "missing field `quantity`"),
            (r#"{"sku":"tea","quantity":0}"#, "integer `0`, expected a nonzero"),
            (r#"{"sku":"tea","quantity":-1}"#, "integer `-1`, expected a nonzero"),
            (r#"{"sku":"tea","quantity":1.5}"#, "floating point `1.5`"),
            (r#"{"sku":"tea","quantity":"2"}"#, "string \"2\""),
            (r#"{"sku":"tea","quantity":2,"colour":"red"}"#, "unknown field `colour`"),
            (r#"{"sku":"tea","sku":"tea","quantity":2}"#, "duplicate field `sku`"),
            ("[]", "invalid length"),
            ("null", "null"),
        ] {
            let (status, detail) = refused(body).await;
            assert_eq!(status, 422, "{body}");
            assert!(detail.contains(wrong), "{detail}");
        }
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_declared_or_not() {
        assert_eq!(refused(" ".repeat(101)).await.0, 413);
        let chunks = futures_util::stream::iter((0..3).map(|_| Ok::<_, std::io::Error>(Bytes::from(" ".repeat(40)))));
        assert_eq!(refused(Body::from_stream(chunks)).await.0, 413);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_is_refused() {
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(refused(never).await.0, 408);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_refused() {
        let broken = futures_util::stream::iter([Err::<Bytes, _>(std::io::Error::other("reset"))]);
        assert_eq!(refused(Body::from_stream(broken)).await.0, 400);
    }

    #[tokio::test]
    async fn a_long_text_of_the_client_is_not_sent_back_whole() {
        let request = Request::builder().header("content-type", "application/json");
        let request = request.body(Body::from(format!("{:?}", "ü".repeat(10_000)))).unwrap();
        let problem = Json::<NewOrder>::from_request(request, &()).await.unwrap_err();
        assert!(problem.detail().chars().count() <= MAX_DETAIL + 1, "{}", problem.detail());
    }
}
