//! Requests from callers that are no nodes: JSON on `{app}.request.{Name}`, answered at the subject that they give.

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use serde_json::json;
use tokio::time::Duration;

use super::{
    connection::{Connection, Outgoing},
    names::Names,
    wire::{self, Arrived},
};
use crate::{
    envelope::{Envelope, Reply, RequestPart},
    error::{Error, ErrorKind},
    id::{MessageId, now_millis},
    message::Kind,
};

/// How long a foreign caller waits if it does not say so.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Marks the address of a foreign caller: no node has it in its name.
const MARK: char = '@';
/// A foreign caller's deadline, in milliseconds from now.
const TIMEOUT_HEADER: &str = "Catga-Timeout";
/// A foreign caller's idempotency key.
const KEY_HEADER: &str = "Idempotency-Key";
/// The longest key.
const MAX_KEY: usize = 256;

/// The subject at which a foreign caller waits, if that is who asked.
pub(super) fn reply_subject(source: &str) -> Option<&str> {
    source.strip_prefix(MARK)
}

/// Reads a request of a foreign caller.
///
/// # Errors
///
/// `Configuration` if its answer would go where no answer may go.
pub(super) fn request(names: &Names, message: &Message) -> Result<Envelope, Error> {
    let reply = message.reply.as_deref().unwrap_or_default();
    check_reply(reply)?;
    let name = names.type_of("request", &message.subject).unwrap_or_default();
    let header =
        |name: &str| message.headers.as_ref().and_then(|headers| headers.get(name)).map(|value| value.as_str());
    let arrived = Arrived { name, headers: message.headers.as_ref(), payload: &message.payload, id: MessageId::new() };
    let mut envelopes = wire::read(&arrived)?;
    let (Some(mut envelope), true) = (envelopes.pop(), envelopes.is_empty()) else {
        return Err(Error::not_started(ErrorKind::Codec, "a request comes alone"));
    };
    let remaining_ms = header(TIMEOUT_HEADER)
        .and_then(|text| text.parse().ok())
        .unwrap_or(u64::try_from(TIMEOUT.as_millis()).unwrap_or(u64::MAX));
    let key = header(KEY_HEADER).filter(|key| !key.is_empty() && key.len() <= MAX_KEY).map(str::to_owned);
    envelope.kind = Kind::Command;
    envelope.name = name.into();
    envelope.source = format!("{MARK}{reply}").into();
    envelope.retry = None;
    envelope.request = Some(Box::new(RequestPart {
        token: 0,
        key,
        remaining_ms,
        deadline_ms: now_millis().saturating_add(remaining_ms),
        probe: false,
    }));
    Ok(envelope)
}

/// An answer goes to an inbox or nowhere: at another subject, such as one of the server's own API, it would be a command
/// with this node's permissions, and at an inbox of a node it would be taken for an answer of the server.
fn check_reply(reply: &str) -> Result<(), Error> {
    let inbox = reply.strip_prefix("_INBOX.");
    let good = |rest: &str| {
        !rest.is_empty() && rest.split('.').all(|token| !token.is_empty() && !token.contains(['*', '>', '$']))
    };
    if reply.is_empty() || inbox.is_some_and(good) {
        return Ok(());
    }
    let text = format!("a request was refused whose answer is to go to `{}`: use an inbox", reply.escape_debug());
    Err(Error::configuration(text))
}

/// Answers a foreign caller: the response as JSON, or an error as JSON with the headers that NATS services use.
pub(super) async fn answer(connection: &Connection, subject: &str, reply: &Reply) -> Result<(), Error> {
    if subject.is_empty() {
        return Ok(());
    }
    let subject = async_nats::Subject::from(subject);
    let error = match &reply.result {
        Ok(payload) => return connection.publish(subject, payload.clone()).await,
        Err(error) => error,
    };
    let failure = error.failure();
    let code = match error.kind() {
        ErrorKind::Handler => "422",
        ErrorKind::NoHandler | ErrorKind::NotFound => "404",
        ErrorKind::Codec => "400",
        ErrorKind::TooLarge => "413",
        ErrorKind::KeyReused => "409",
        ErrorKind::TimedOut => "504",
        _ => "503",
    };
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Service-Error-Code", code);
    // One line: a header holds no line break.
    let text: String = error.to_string().chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    headers.insert("Nats-Service-Error", text.as_str());
    let details = failure.and_then(|failure| failure.details_as::<serde_json::Value>());
    let body = json!({ "error": {
        "kind": format!("{:?}", error.kind()),
        "outcome": format!("{:?}", error.outcome()),
        "code": failure.map(|failure| failure.code()),
        "message": failure.map_or(text.as_str(), |failure| failure.message()),
        "details": details,
    }});
    let body = Bytes::from(body.to_string());
    connection.hand_over(Outgoing { subject, payload: body, reply: None, headers: Some(headers) }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_to_inboxes_alone() {
        for good in ["", "_INBOX.abc.1"] {
            assert!(check_reply(good).is_ok(), "{good}");
        }
        for bad in [
            "$JS.API.STREAM.DELETE.shop-events",
            "shop.node.n1.request",
            "_INBOX",
            "_INBOX.",
            "_INBOX.>",
            "_INBOX.a..b",
            "shop.inbox.x",
        ] {
            assert!(check_reply(bad).is_err(), "{bad}");
        }
    }
}
