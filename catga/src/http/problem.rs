//! An error as an HTTP client is told: a JSON problem by RFC 9457.
//!
//! The text of a handler's own failure goes to the client, for it was written for the caller. The text of every other
//! error may name servers, handlers or payloads: the client gets a sentence for the kind of error, the log the rest.

use std::borrow::Cow;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Failure, Outcome, Retry};

/// When a client that was refused may come again, in seconds: overload and restarts are over in about that time.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// The codes of failures that the framework made and not the application: their texts are not for clients.
const INNER_CODES: [&str; 4] = ["error", "panic", "timeout", "context"];

/// A refusal as `application/problem+json`: `type`, `title`, `status`, `detail`, and as extensions `code`, `outcome` and
/// `details`.
///
/// An error of the mediator becomes one. What a handler answered with a [`Failure`] of its own is 422 (503 if it was
/// marked as transient), and [`status_for`](Self::status_for) chooses another status for a code.
///
/// ```
/// use axum::http::StatusCode;
/// use catga::http::Problem;
///
/// let problem = Problem::new(StatusCode::NOT_FOUND, "unknown_order", "there is no order 7");
/// assert_eq!(problem.status(), StatusCode::NOT_FOUND);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: String,
    /// Whether the work may have been done; only for errors of the mediator.
    outcome: Option<Outcome>,
    details: Option<Value>,
    /// Whether a client that simply comes again does no harm.
    come_again: bool,
}

impl Problem {
    /// A problem of the application's own: a code for programs and a sentence for people.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { status, code: code.into(), detail: detail.into(), outcome: None, details: None, come_again: false }
    }

    /// Adds structured details; what cannot be written as JSON is left out.
    #[must_use]
    pub fn details(mut self, value: impl Serialize) -> Self {
        self.details = serde_json::to_value(value).ok();
        self
    }

    /// Gives problems of this code another status.
    ///
    /// ```
    /// use axum::http::StatusCode;
    /// use catga::http::Problem;
    ///
    /// fn told(error: catga::Error) -> Problem {
    ///     Problem::from(error)
    ///         .status_for("out_of_stock", StatusCode::CONFLICT)
    ///         .status_for("unknown_order", StatusCode::NOT_FOUND)
    /// }
    /// ```
    #[must_use]
    pub fn status_for(mut self, code: &str, status: StatusCode) -> Self {
        if self.code == code {
            self.status = status;
        }
        self
    }

    /// The status that the client gets.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The code for programs.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The sentence for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    fn of_failure(failure: &Failure) -> Self {
        let transient = failure.retry() == Retry::Transient;
        let inner = INNER_CODES.contains(&failure.code());
        let status = match (transient, inner) {
            (true, _) => StatusCode::SERVICE_UNAVAILABLE,
            (false, true) => StatusCode::INTERNAL_SERVER_ERROR,
            (false, false) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let detail = if inner { "the request failed inside the service" } else { failure.message() };
        let mut problem = Self::new(status, failure.code().to_owned(), detail);
        if !inner {
            problem.details = failure.details_as();
        }
        problem
    }

    fn of_kind(error: &Error) -> Self {
        let unknown = error.outcome() == Outcome::Unknown;
        let (status, code, detail) = match error.kind() {
            ErrorKind::NoHandler => {
                (StatusCode::SERVICE_UNAVAILABLE, "no_handler", "no node that can do this is there at the moment")
            }
            ErrorKind::Overloaded => {
                (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "the service has too much to do; try again later")
            }
            ErrorKind::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "timed_out", "the request was not answered in time"),
            ErrorKind::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "key_reused",
                "this `Idempotency-Key` was used for a request with other content; use a new key",
            ),
            ErrorKind::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the request, or its reply, is larger than a limit")
            }
            ErrorKind::Transport => {
                (StatusCode::SERVICE_UNAVAILABLE, "transport", "the node that was to do this cannot be reached")
            }
            ErrorKind::ShuttingDown | ErrorKind::Replaced => {
                (StatusCode::SERVICE_UNAVAILABLE, "shutting_down", "this node is shutting down; ask another one")
            }
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, "not_found", "what was asked for does not exist"),
            ErrorKind::Handler => (StatusCode::INTERNAL_SERVER_ERROR, "error", "the request failed inside the service"),
            ErrorKind::Codec => {
                (StatusCode::INTERNAL_SERVER_ERROR, "codec", "the service could not read or write a message of its own")
            }
            ErrorKind::Configuration => {
                (StatusCode::INTERNAL_SERVER_ERROR, "configuration", "the service is set up wrongly")
            }
        };
        let doubt = "; it may have been done: look, or send it again under the same `Idempotency-Key`";
        Self::new(status, code, format!("{detail}{}", if unknown { doubt } else { "" }))
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let mut problem = match error.failure() {
            Some(failure) => Self::of_failure(failure),
            None => Self::of_kind(&error),
        };
        problem.outcome = Some(error.outcome());
        // What may have been done is not to be repeated by a client that only looks at this header.
        let transient = error.failure().is_some_and(|failure| failure.retry() == Retry::Transient);
        problem.come_again =
            problem.status == StatusCode::SERVICE_UNAVAILABLE && (transient || error.outcome() == Outcome::NotStarted);
        if problem.status.is_server_error() {
            let (kind, outcome, code) = (error.kind(), error.outcome(), &*problem.code);
            // The text of a codec's error quotes the payload.
            let text = if kind == ErrorKind::Codec { String::new() } else { error.to_string() };
            tracing::warn!(target: "catga::http", ?kind, ?outcome, code, error = text, "a request failed");
        }
        problem
    }
}

/// What is written.
#[derive(Serialize)]
struct Body<'a> {
    /// `about:blank` says that the title is that of the status; `code` tells problems apart.
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Value>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: &self.code,
            outcome: self.outcome.map(|outcome| match outcome {
                Outcome::NotStarted => "not_started",
                Outcome::Unknown => "unknown",
                Outcome::Failed => "failed",
            }),
            details: self.details.as_ref(),
        };
        // Texts and JSON values: they can always be written.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, [(header::CONTENT_TYPE, kind)], body).into_response();
        if self.come_again {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    async fn read(response: impl IntoResponse) -> (StatusCode, Option<String>, Value) {
        let response = response.into_response();
        let status = response.status();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let again = response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, again, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_failure_of_the_application_reaches_the_client_with_its_code_message_and_details() {
        let failure = Failure::new("out_of_stock", "no tea left").details(serde_json::json!({ "left": 0 }));
        let error = Error::handler("place", failure);
        let (status, again, body) = read(Problem::from(error).status_for("out_of_stock", StatusCode::CONFLICT)).await;
        assert_eq!((status, again), (StatusCode::CONFLICT, None));
        let expected = serde_json::json!({
            "type": "about:blank", "title": "Conflict", "status": 409, "detail": "no tea left",
            "code": "out_of_stock", "outcome": "failed", "details": { "left": 0 },
        });
        assert_eq!(body, expected);
    }

    #[tokio::test]
    async fn a_failure_without_a_status_of_its_own_is_422_and_a_transient_one_503() {
        let failure = || Failure::new("closed", "we open at nine");
        assert_eq!(read(Error::handler("place", failure())).await.0, StatusCode::UNPROCESSABLE_ENTITY);
        let (status, again, _) = read(Error::handler("place", failure().transient())).await;
        assert_eq!((status, again.as_deref()), (StatusCode::SERVICE_UNAVAILABLE, Some("1")));
    }

    #[tokio::test]
    async fn what_was_not_written_for_clients_is_left_out() {
        let secret = "postgres://shop:hunter2@db";
        let mut errors = vec![
            Error::handler("place", Failure::new("error", secret)),
            Error::handler("place", Failure::new("panic", secret).details(secret)),
        ];
        let kinds = [
            ErrorKind::NoHandler,
            ErrorKind::Overloaded,
            ErrorKind::TimedOut,
            ErrorKind::KeyReused,
            ErrorKind::Codec,
            ErrorKind::TooLarge,
            ErrorKind::Transport,
            ErrorKind::ShuttingDown,
            ErrorKind::Replaced,
            ErrorKind::Configuration,
            ErrorKind::NotFound,
        ];
        errors.extend(kinds.map(|kind| Error::not_started(kind, secret)));
        for error in errors {
            let (kind, (_, _, body)) = (error.kind(), read(error).await);
            assert!(!body.to_string().contains("hunter2"), "{kind:?}: {body}");
        }
    }

    #[tokio::test]
    async fn a_client_may_come_again_only_if_nothing_was_started() {
        let (status, again, body) = read(Error::not_started(ErrorKind::Overloaded, "full")).await;
        assert_eq!((status, again.as_deref()), (StatusCode::SERVICE_UNAVAILABLE, Some("1")));
        assert_eq!(body["outcome"], "not_started");
        let (status, again, body) = read(Error::unknown(ErrorKind::Transport, "gone")).await;
        assert_eq!((status, again), (StatusCode::SERVICE_UNAVAILABLE, None));
        assert!(body["detail"].as_str().unwrap().contains("may have been done"), "{body}");
    }

    #[tokio::test]
    async fn each_kind_has_its_status() {
        for (kind, status) in [
            (ErrorKind::NoHandler, 503),
            (ErrorKind::TimedOut, 504),
            (ErrorKind::KeyReused, 422),
            (ErrorKind::TooLarge, 413),
            (ErrorKind::ShuttingDown, 503),
            (ErrorKind::Replaced, 503),
            (ErrorKind::NotFound, 404),
            (ErrorKind::Configuration, 500),
            (ErrorKind::Codec, 500),
        ] {
            let (answered, _, body) = read(Error::not_started(kind, "")).await;
            assert_eq!(answered.as_u16(), status, "{kind:?}");
            assert_eq!(body["status"], status, "{kind:?}");
        }
    }
}
