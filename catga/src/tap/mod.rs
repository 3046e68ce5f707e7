//! What passes over NATS, for people: a line for each message, in whichever form it was written.
//!
//! Frames hold several messages and are not text; `nats sub` shows them as bytes. What stands in a payload or a message of
//! an error is nobody's business by default, and is shown on demand only. Text from the wire never reaches a terminal as it
//! is: what could move its cursor is escaped.

mod live;

use std::fmt;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

pub use self::live::{Listening, Passed};
use crate::{
    error::Error,
    frame::{self, dead::decode_dead, decode_replies},
    id::MessageId,
    transport::{
        DeadContent, DeadLetter, Envelope, Reply,
        nats::{
            cloud_event::written_time,
            wire::{Arrived, Form, read_form},
        },
    },
};

/// The subjects, `{app}.event.{Name}` for example, on which everything is a message in some form.
const CARRY_MESSAGES: [&str; 3] = ["event", "reliable", "request"];
/// The most characters that are shown of a payload.
const SHOWN: usize = 400;
/// The most characters that are shown of anything else that is text from the wire.
const SHOWN_OF_A_FIELD: usize = 120;

/// Takes messages apart that were seen on a subject of an application, for printing.
///
/// ```
/// use catga::tap::Tap;
///
/// let lines = Tap::new().describe("catga.event.orders.Placed", &[], &r#"{"id":7}"#.into());
/// assert!(lines[0].contains("catga.event.orders.Placed json event"));
/// assert!(lines[0].ends_with("size=8"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Tap {
    payloads: bool,
}

impl Tap {
    /// Shows what travels, but not what it says.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also shows the start of each payload, and what errors and failures say.
    #[must_use]
    pub fn with_payloads(mut self) -> Self {
        self.payloads = true;
        self
    }

    /// The lines for one message of NATS: one for each message in it, or one that says why there is none.
    ///
    /// A line begins with a time, or `-`, the subject and the form. The time is that of the message; of one that says none,
    /// it is now.
    pub fn describe(&self, subject: &str, headers: &[(&str, &str)], payload: &Bytes) -> Vec<String> {
        let mut parts = subject.splitn(3, '.').skip(1);
        let (sort, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let lines = match payload.first_chunk::<3>() {
            // A node that starts finds out what it is permitted.
            None if payload.is_empty() && (subject.split('.').any(|token| token == "_check") || sort == "cluster") => {
                Ok(vec![Line::new(None, subject, "check").0])
            }
            Some([frame::MAGIC, _, frame::REPLIES]) => self.replies(subject, payload),
            Some([frame::MAGIC, _, frame::dead::DEAD]) => {
                decode_dead(payload).map(|letter| vec![self.letter(subject, &letter)])
            }
            first if first.is_some_and(|first| first[0] == frame::MAGIC) || CARRY_MESSAGES.contains(&sort) => {
                self.messages(subject, name, headers, payload)
            }
            _ => Ok(vec![self.end(Line::new(None, subject, "other"), payload)]),
        };
        lines.unwrap_or_else(|error| {
            let line = Line::new(None, subject, "unreadable").field("because", &error.to_string());
            vec![self.end(line, payload)]
        })
    }

    fn messages(
        &self,
        subject: &str,
        name: &str,
        headers: &[(&str, &str)],
        payload: &Bytes,
    ) -> Result<Vec<String>, Error> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
                map.append(name, value);
            }
        }
        // An id that a receiver would fill in is not shown.
        let none = MessageId::from_u128(0);
        let (form, messages) = read_form(&Arrived { name, headers: Some(&map), payload, id: none })?;
        let form = match form {
            Form::Frame => "frame",
            Form::StructuredCloudEvent => "cloudevent",
            Form::BinaryCloudEvent => "cloudevent-binary",
            Form::Json => "json",
        };
        let line = |(number, message): (usize, &Envelope)| {
            let mut line = Line::new(Some(message.time_ms), subject, form);
            if form == "frame" {
                line = line.word(format_args!("{}/{}", number + 1, messages.len()));
            }
            line = line.word(message.kind);
            if message.id != none {
                line = line.value("id", message.id);
            }
            line = line.about(message);
            if let Some(retry) = &message.retry {
                line = line.field("handler", &retry.handler);
            }
            if let Some(request) = &message.request {
                line = line.value("token", request.token);
            }
            self.end(line, &message.payload)
        };
        Ok(messages.iter().enumerate().map(line).collect())
    }

    fn replies(&self, subject: &str, payload: &Bytes) -> Result<Vec<String>, Error> {
        let replies = decode_replies(payload)?;
        let line = |(number, reply): (usize, &Reply)| {
            let line = Line::new(None, subject, "frame")
                .word(format_args!("{}/{}", number + 1, replies.len()))
                .word("reply")
                .value("token", reply.token);
            match &reply.result {
                Ok(payload) => self.end(line, payload),
                Err(error) => {
                    let line = line.value("kind", format_args!("{:?}", error.kind()));
                    let mut line = line.value("outcome", format_args!("{:?}", error.outcome()));
                    if let Some(failure) = error.failure() {
                        line = line.field("code", failure.code());
                    }
                    if self.payloads {
                        line = line.field("message", &error.to_string());
                    }
                    line.0
                }
            }
        };
        Ok(replies.iter().enumerate().map(line).collect())
    }

    fn letter(&self, subject: &str, letter: &DeadLetter) -> String {
        let mut line = Line::new(Some(letter.time_ms), subject, "frame").word("dead-letter").value("id", letter.id);
        line = line.field("durable", &letter.durable).field("handler", letter.handler.as_deref().unwrap_or("-"));
        line = line.value("attempts", letter.attempts).value("replays", letter.replays).field("node", &letter.node);
        line = line.field("code", letter.failure.code());
        if self.payloads {
            line = line.field("message", letter.failure.message());
        }
        match &letter.content {
            DeadContent::Message(message) => self.end(line.value("event", message.id).about(message), &message.payload),
            DeadContent::Unreadable(bytes) => self.end(line.word("bytes"), bytes),
        }
    }

    /// The size of a payload, and its start if it is to be shown.
    fn end(&self, line: Line, payload: &[u8]) -> String {
        let mut text = line.value("size", payload.len()).0;
        if self.payloads {
            // No character takes more than four bytes.
            let start = String::from_utf8_lossy(&payload[..payload.len().min(SHOWN * 4)]);
            text.push_str(" payload=");
            for character in start.chars().take(SHOWN) {
                match character {
                    '"' | '\'' | '\\' => text.push(character),
                    other => text.extend(other.escape_debug()),
                }
            }
            if start.chars().nth(SHOWN).is_some() {
                text.push('…');
            }
        }
        text
    }
}

/// A line that is being written.
struct Line(String);

impl Line {
    fn new(time_ms: Option<u64>, subject: &str, form: &str) -> Self {
        let time = time_ms.and_then(|time_ms| written_time(time_ms).ok()).unwrap_or_else(|| "-".to_owned());
        Self(format!("{time} {} {form}", printable(subject)))
    }

    /// What is the same of every message.
    fn about(self, message: &Envelope) -> Self {
        let attempt = message.retry.as_ref().map_or(1, |retry| retry.attempt);
        self.field("type", &message.name).field("source", &message.source).value("attempt", attempt)
    }

    fn word(self, word: impl fmt::Display) -> Self {
        Self(format!("{} {word}", self.0))
    }

    /// What this program made itself.
    fn value(self, name: &str, value: impl fmt::Display) -> Self {
        self.word(format_args!("{name}={value}"))
    }

    /// Text from the wire.
    fn field(self, name: &str, text: &str) -> Self {
        self.value(name, printable(text))
    }
}

/// Text from the wire as one word: cut, and quoted with everything escaped that is not plainly visible.
fn printable(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN_OF_A_FIELD).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    match !cut.is_empty() && cut.chars().all(|c| !c.is_whitespace() && c.escape_debug().len() == 1) {
        true => format!("{cut}{more}"),
        false => format!("{cut:?}{more}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::Failure,
        frame::{dead::encode_dead, encode_messages, encode_replies},
        message::Kind,
        transport::{RequestPart, RetryPart},
    };

    const ID: &str = "01900000-0000-7000-8000-000000000001";

    fn event() -> Envelope {
        let mut event = Envelope::new("orders.Placed".into(), Kind::Event, &"node1".into(), br#"{"id":7}"#[..].into());
        (event.id, event.time_ms) = (ID.parse().expect("an id"), 1_763_900_000_123);
        event
    }

    fn shown(subject: &str, payload: &Bytes) -> Vec<String> {
        Tap::new().with_payloads().describe(subject, &[], payload)
    }

    #[test]
    fn each_message_has_a_line_whatever_its_form() {
        let time = "2025-11-23T12:13:20.123Z";
        let what = format!("id={ID} type=orders.Placed source=node1 attempt=1 size=8 payload={{\"id\":7}}");
        let event_line = |form: &str| format!("{time} catga.event.orders.Placed {form} event {what}");
        let alone = serde_json::json!({
            "specversion": "1.0", "id": ID, "source": "/node1", "type": "orders.Placed", "time": time,
            "catgarepeat": false, "data": { "id": 7 },
        });
        assert_eq!(shown("catga.event.orders.Placed", &alone.to_string().into()), [event_line("cloudevent")]);
        let frame = encode_messages(&[event(), event()]).expect("it fits");
        assert_eq!(shown("catga.event.orders.Placed", &frame), [event_line("frame 1/2"), event_line("frame 2/2")]);

        let lines = Tap::new().describe("catga.reliable.a.B", &[("ce-specversion", "1.0")], &"7".into());
        assert!(lines[0].contains(" catga.reliable.a.B cloudevent-binary event type=a.B source=foreign"), "{lines:?}");
        let lines = Tap::new().describe("catga.request.a.B", &[("bad name\n", "\r")], &"7".into());
        assert!(lines[0].contains(" json "), "{lines:?}");
    }

    #[test]
    fn retries_requests_replies_and_dead_letters_are_taken_apart() {
        let retry = RetryPart { handler: "orders.note".into(), attempt: 3, crashes: 0, declared: false, replays: 0 };
        let request = RequestPart { token: 9, key: None, remaining_ms: 1, deadline_ms: 1, probe: false };
        let stored = Envelope { retry: Some(Box::new(retry)), ..event() };
        let asked = Envelope { kind: Kind::Command, request: Some(Box::new(request)), ..event() };
        let lines = shown("catga.retry.n~node1", &encode_messages(&[stored.clone(), asked]).expect("it fits"));
        assert!(
            lines[0].contains("frame 1/2 event") && lines[0].contains("attempt=3 handler=orders.note"),
            "{lines:?}"
        );
        assert!(lines[1].contains("frame 2/2 command") && lines[1].contains("token=9"), "{lines:?}");

        let error = Error::handler("orders.place", Failure::new("stock", "no tea"));
        let replies = [Reply::new(1, Ok("7".into())), Reply::new(2, Err(error))];
        let replies = encode_replies(&replies).expect("it fits");
        let subject = "catga.reply.node1.frame";
        let hidden = Tap::new().describe(subject, &[], &replies);
        assert_eq!(hidden[0], format!("- {subject} frame 1/2 reply token=1 size=1"));
        assert_eq!(hidden[1], format!("- {subject} frame 2/2 reply token=2 kind=Handler outcome=Failed code=stock"));
        assert!(shown(subject, &replies)[1].contains("no tea"));

        let letter = DeadLetter {
            id: ID.parse().expect("an id"),
            durable: "n.node1".into(),
            handler: Some("orders.note".into()),
            attempts: 4,
            replays: 0,
            failure: Failure::new("paper", "no paper"),
            node: "node2".into(),
            time_ms: 0,
            content: DeadContent::Message(Box::new(stored)),
        };
        let subject = format!("catga.dead.{ID}");
        let lines = Tap::new().describe(&subject, &[], &encode_dead(&letter).expect("it can be written"));
        let expected = "durable=n.node1 handler=orders.note attempts=4 replays=0 node=node2 code=paper event=";
        assert!(
            lines[0].starts_with(&format!("1970-01-01T00:00:00Z {subject} frame dead-letter id={ID} {expected}{ID} "))
        );
        assert!(lines[0].contains("type=orders.Placed") && !lines[0].contains("no paper"), "{lines:?}");
        let letter = DeadLetter { handler: None, content: DeadContent::Unreadable("?".into()), ..letter };
        let lines = shown(&subject, &encode_dead(&letter).expect("it can be written"));
        assert!(lines[0].ends_with("message=\"no paper\" bytes size=1 payload=?"), "{lines:?}");
    }

    #[test]
    fn what_cannot_be_read_or_is_not_a_message_has_a_line_too() {
        for (subject, payload) in [("catga.event.a.B", "no json"), ("catga.reply.n.frame", "\u{28a}"), ("catga", "")] {
            assert_eq!(shown(subject, &payload.into()).len(), 1);
        }
        let cut = Bytes::from_static(&[frame::MAGIC, frame::VERSION, frame::REPLIES, 1]);
        assert!(shown("catga.reply.n.frame", &cut)[0].starts_with("- catga.reply.n.frame unreadable because="));
        for tried in ["catga.event._check", "catga.reply._check.frame", "catga.cluster.node"] {
            assert_eq!(shown(tried, &Bytes::new()), [format!("- {tried} check")]);
        }
        let line = &shown("catga.cluster.node", &r#"{"here":{}}"#.into())[0];
        assert_eq!(line, r#"- catga.cluster.node other size=11 payload={"here":{}}"#);
    }

    #[test]
    fn payloads_are_hidden_unless_asked_for_and_never_move_the_cursor() {
        let mut event = event();
        event.source = "a\u{1b}[2Jb id=x\u{202e}".into();
        event.payload = Bytes::from(format!("\"\u{1b}]0;x\u{7}\r\n{}\"", "ä".repeat(10_000)));
        let frame = encode_messages(std::slice::from_ref(&event)).expect("it fits");
        let hidden = Tap::new().describe("catga.event.a\u{1b}", &[], &frame);
        assert!(!hidden[0].contains('ä'), "{hidden:?}");
        let line = &shown("catga.event.a\u{1b}", &frame)[0];
        assert!(line.contains(r#"source="a\u{1b}[2Jb id=x\u{202e}""#), "{line}");
        assert!(line.contains(r"\r\n") && line.ends_with("ä…") && line.chars().count() < 800, "{line}");
        assert!(!line.chars().any(|character| character.is_control() || character == '\u{202e}'));
    }
}
