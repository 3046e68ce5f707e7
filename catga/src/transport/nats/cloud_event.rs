//! CloudEvents 1.0: how a lone event is written so that any program reads it, and how those of other programs are read.
//!
//! Written is the structured mode of the JSON format; read is also the binary mode of the protocol binding for NATS. Batches
//! are refused, and so is content that is no JSON: a payload is JSON everywhere in this crate.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    envelope::{Envelope, Headers, TRACE},
    error::{Error, ErrorKind},
    id::{MessageId, now_millis},
    message::Kind,
};

const SPEC_VERSION: &str = "1.0";
const JSON: &str = "application/json";
/// Nanoseconds in a millisecond.
const NANOS: i128 = 1_000_000;
/// The source of a message that names none.
const FOREIGN: &str = "foreign";

/// A CloudEvent: its attributes and its data. What is not listed here is passed over.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct CloudEvent<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) specversion: Text<'a>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) id: Text<'a>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) source: Text<'a>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) r#type: Text<'a>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) time: Text<'a>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) datacontenttype: Text<'a>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) correlationid: Text<'a>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) causationid: Text<'a>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) traceparent: Text<'a>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) tracestate: Text<'a>,
    /// Whether the sender may have sent the id before. Only nodes say so: without it an event is foreign.
    #[serde(skip_serializing_if = "Option::is_none")]
    catgarepeat: Option<bool>,
    /// A number, as text: integers of CloudEvents have 32 bits.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    catgasequence: Text<'a>,
    /// Likewise.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    catgaincarnation: Text<'a>,
    /// The other headers, as a JSON array of pairs.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    catgaheaders: Text<'a>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    data_base64: Text<'a>,
}

/// The value of an attribute.
type Text<'a> = Option<Cow<'a, str>>;

/// Writes a lone event in the structured JSON mode.
///
/// # Errors
///
/// `Codec` for what is no event, for what only frames carry, and for a payload that is no JSON.
pub(super) fn write(envelope: &Envelope) -> Result<Bytes, Error> {
    let name = &envelope.name;
    if envelope.kind != Kind::Event || envelope.request.is_some() || envelope.retry.is_some() {
        return Err(refused(format!("`{name}` is not a first publish of an event: only frames carry it")));
    }
    let data = serde_json::from_slice(&envelope.payload).map_err(|error| Error::encode(name, error))?;
    let in_trace = |(name, value): &(&str, &str)| TRACE.contains(name) && !value.is_empty();
    let [traceparent, tracestate] = TRACE.map(|name| envelope.headers.get(name).filter(|value| !value.is_empty()));
    let headers: Vec<_> = envelope.headers.iter().filter(|header| !in_trace(header)).collect();
    let headers = match headers.is_empty() {
        true => None,
        false => Some(serde_json::to_string(&headers).map_err(|error| Error::encode(name, error))?),
    };
    let event = CloudEvent {
        specversion: Some(SPEC_VERSION.into()),
        id: Some(envelope.id.to_string().into()),
        source: Some(format!("/{}", envelope.source).into()),
        r#type: Some(Cow::Borrowed(name)),
        time: Some(written_time(envelope.time_ms)?.into()),
        datacontenttype: Some(JSON.into()),
        correlationid: Some(envelope.correlation.to_string().into()),
        causationid: envelope.causation.map(|id| id.to_string().into()),
        traceparent: traceparent.map(Cow::Borrowed),
        tracestate: tracestate.map(Cow::Borrowed),
        catgarepeat: Some(envelope.repeat),
        catgasequence: (envelope.sequence > 0).then(|| envelope.sequence.to_string().into()),
        catgaincarnation: (envelope.incarnation > 0).then(|| envelope.incarnation.to_string().into()),
        catgaheaders: headers.map(Cow::Owned),
        data: Some(data),
        data_base64: None,
    };
    serde_json::to_vec(&event).map(Bytes::from).map_err(|error| Error::encode(name, error))
}

impl<'a> CloudEvent<'a> {
    /// Reads the structured mode; `None` for what is no CloudEvent. `declared`: a header says that it is one.
    ///
    /// # Errors
    ///
    /// `Codec` for a CloudEvent that cannot be read.
    pub(super) fn structured(payload: &'a [u8], declared: bool) -> Result<Option<Self>, Error> {
        if !declared && !looks_like_one(payload) {
            return Ok(None);
        }
        if !is_object(payload) {
            return Err(refused("a CloudEvent in the structured mode is a JSON object"));
        }
        let event: Self = serde_json::from_slice(payload)
            .map_err(|error| refused(format!("a CloudEvent cannot be read: {error}")).with_source(error))?;
        event.check().map(Some)
    }

    /// Checks what no other attribute can make good.
    pub(super) fn check(self) -> Result<Self, Error> {
        if self.specversion.as_deref() != Some(SPEC_VERSION) {
            let version = self.specversion.as_deref().unwrap_or("none");
            return Err(refused(format!("a CloudEvent has the `specversion` {SPEC_VERSION}, not {version}")));
        }
        match self.datacontenttype.as_deref() {
            Some(other) if !is_json(other) => {
                Err(refused(format!("the content of a CloudEvent is {other:?}: only JSON can be read")))
            }
            _ => Ok(self),
        }
    }

    /// The JSON text of the data of the structured mode; it shares the memory of the message where it can.
    ///
    /// # Errors
    ///
    /// `Codec` for data that is no JSON.
    pub(super) fn data(&self, message: &Bytes) -> Result<Bytes, Error> {
        match (self.data, &self.data_base64) {
            (Some(data), None) => Ok(message.slice_ref(data.get().as_bytes())),
            // Data that is absent and data that is `null` are the same to a reader of JSON.
            (None, None) => Ok(Bytes::from_static(b"null")),
            (None, Some(text)) => {
                let bytes = STANDARD.decode(text.as_bytes()).map_err(|error| {
                    refused(format!("the `data_base64` of a CloudEvent is not Base64: {error}")).with_source(error)
                })?;
                json(&bytes.into())
            }
            (Some(_), Some(_)) => Err(refused("a CloudEvent has either `data` or `data_base64`")),
        }
    }

    /// The event as a message of this type; what is missing is filled in, the id with `id`.
    ///
    /// # Errors
    ///
    /// `Codec` for an attribute that is not what its name says.
    pub(super) fn envelope(self, name: &str, id: MessageId, payload: Bytes) -> Result<Envelope, Error> {
        let source = self.source.as_deref().filter(|source| !source.is_empty()).unwrap_or(FOREIGN);
        let id = self.id.as_deref().map_or(id, |text| id_of(source, text));
        let mut envelope = foreign(name, id, payload);
        envelope.source = match self.catgarepeat {
            Some(_) => source.strip_prefix('/').unwrap_or(source).into(),
            None => source.into(),
        };
        envelope.repeat = self.catgarepeat.unwrap_or(true);
        if let Some(text) = self.correlationid.as_deref() {
            // Whoever takes part in the conversation names it alike.
            envelope.correlation =
                text.parse().unwrap_or_else(|_| MessageId::derived(&[b"correlation", text.as_bytes()]));
        }
        envelope.causation = self.causationid.as_deref().map(|text| id_of(source, text));
        if let Some(text) = self.time.as_deref() {
            envelope.time_ms = read_time(text)?;
        }
        let number = |name: &str, text: Option<&str>| {
            text.unwrap_or("0").parse::<u64>().map_err(|error| {
                refused(format!("the attribute `{name}` is {:?}: {error}", text.unwrap_or_default())).with_source(error)
            })
        };
        envelope.sequence = number("catgasequence", self.catgasequence.as_deref())?;
        envelope.incarnation = number("catgaincarnation", self.catgaincarnation.as_deref())?;
        if let Some(text) = self.catgaheaders.as_deref() {
            let headers = serde_json::from_str(text).map_err(|error| {
                refused(format!("the attribute `catgaheaders` cannot be read: {error}")).with_source(error)
            })?;
            envelope.headers = Headers::arrived(headers)?;
        }
        for (name, value) in TRACE.into_iter().zip([self.traceparent, self.tracestate]) {
            if let Some(value) = value {
                // What cannot travel is left out: the event is as good without it.
                drop(envelope.headers.insert(name, value));
            }
        }
        Ok(envelope)
    }
}

/// A message of a program that knows nothing of catga.
pub(super) fn foreign(name: &str, id: MessageId, payload: Bytes) -> Envelope {
    Envelope {
        id,
        name: name.into(),
        kind: Kind::Event,
        source: FOREIGN.into(),
        correlation: id,
        causation: None,
        time_ms: now_millis(),
        headers: Headers::new(),
        payload,
        // Whether it was sent before, nobody knows.
        repeat: true,
        sequence: 0,
        incarnation: 0,
        request: None,
        retry: None,
    }
}

/// Checks that this is JSON, and gives it without the white space around it.
///
/// # Errors
///
/// `Codec` if it is none.
pub(super) fn json(bytes: &Bytes) -> Result<Bytes, Error> {
    let text: &RawValue = serde_json::from_slice(bytes)
        .map_err(|error| refused(format!("a payload is not JSON: {error}")).with_source(error))?;
    Ok(bytes.slice_ref(text.get().as_bytes()))
}

/// Whether a JSON text has what every CloudEvent with data has.
fn looks_like_one(payload: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Look<'a> {
        #[serde(borrow)]
        specversion: Cow<'a, str>,
        #[serde(rename = "type")]
        _type: IgnoredAny,
        #[serde(default, deserialize_with = "is_there")]
        data: bool,
        #[serde(default, deserialize_with = "is_there")]
        data_base64: bool,
    }
    is_object(payload)
        && serde_json::from_slice(payload)
            .is_ok_and(|look: Look<'_>| look.specversion == SPEC_VERSION && (look.data || look.data_base64))
}

/// Whether a member is there, be it `null`.
fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// Whether this can only be a JSON object: an array would be taken for the members in their order.
fn is_object(payload: &[u8]) -> bool {
    payload.trim_ascii_start().starts_with(b"{")
}

/// Whether a media type is one of JSON.
fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.split_once('/').is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}

/// An id as catga has it: the UUID that it is, or one that stands for source and id together.
fn id_of(source: &str, id: &str) -> MessageId {
    id.parse().unwrap_or_else(|_| MessageId::derived(&[b"cloudevent", source.as_bytes(), id.as_bytes()]))
}

/// Milliseconds since 1970 as text.
pub(crate) fn written_time(time_ms: u64) -> Result<String, Error> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(time_ms) * NANOS).ok();
    time.and_then(|time| time.format(&Rfc3339).ok())
        .ok_or_else(|| refused(format!("{time_ms} ms after 1970 is no time that can be written")))
}

/// Milliseconds since 1970; what was before is taken for 1970.
fn read_time(text: &str) -> Result<u64, Error> {
    let time = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|error| refused(format!("the time of a CloudEvent is {text:?}: {error}")).with_source(error))?;
    Ok(u64::try_from(time.unix_timestamp_nanos() / NANOS).unwrap_or(0))
}

pub(super) fn refused(text: impl Into<String>) -> Error {
    Error::not_started(ErrorKind::Codec, text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::envelope::{RequestPart, RetryPart};

    fn event() -> Envelope {
        let mut envelope =
            Envelope::new("orders.Placed".into(), Kind::Event, &"node1".into(), Bytes::from_static(br#"{"id":7}"#));
        envelope.time_ms = 1_763_900_000_123;
        envelope
    }

    #[test]
    fn an_event_is_written_so_that_any_program_reads_it() {
        let mut event = event();
        event.causation = Some(MessageId::new());
        (event.sequence, event.incarnation) = (u64::MAX, 3);
        for (name, value) in [("traceparent", "00-1-2-01"), ("tenant", "acme \"ä\"")] {
            event.headers.insert(name, value).expect("a good header");
        }
        let written: Value = serde_json::from_slice(&write(&event).expect("it can be written")).expect("it is JSON");
        let expected = json!({
            "specversion": "1.0",
            "id": event.id.to_string(),
            "source": "/node1",
            "type": "orders.Placed",
            "time": "2025-11-23T12:13:20.123Z",
            "datacontenttype": "application/json",
            "correlationid": event.id.to_string(),
            "causationid": event.causation.map(|id| id.to_string()),
            "traceparent": "00-1-2-01",
            "catgarepeat": false,
            "catgasequence": "18446744073709551615",
            "catgaincarnation": "3",
            "catgaheaders": r#"[["tenant","acme \"ä\""]]"#,
            "data": { "id": 7 },
        });
        assert_eq!(written, expected);
        for name in written.as_object().expect("an object").keys() {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{name}");
        }
    }

    #[test]
    fn what_only_frames_carry_is_refused() {
        let request = RequestPart { token: 1, key: None, remaining_ms: 1, deadline_ms: 1, probe: false };
        let retry = RetryPart { handler: "h".into(), attempt: 1, crashes: 0, declared: false, replays: 0 };
        let refused = [
            Envelope { kind: Kind::Command, ..event() },
            Envelope { request: Some(Box::new(request)), ..event() },
            Envelope { retry: Some(Box::new(retry)), ..event() },
            Envelope { payload: Bytes::from_static(b"no json"), ..event() },
            Envelope { payload: Bytes::from_static(b"1 2"), ..event() },
            Envelope { payload: Bytes::new(), ..event() },
            Envelope { time_ms: u64::MAX, ..event() },
        ];
        for envelope in refused {
            assert_eq!(write(&envelope).expect_err("not as a CloudEvent").kind(), ErrorKind::Codec, "{envelope:?}");
        }
    }
}
