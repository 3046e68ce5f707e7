//! What a message that arrives holds, in whichever of the three forms it was written.
//!
//! Frames are tried first, by their first byte; then CloudEvents, by a header, then by what stands in the payload; the rest
//! is bare JSON. `docs/wire.md` has the whole of it.

use async_nats::HeaderMap;
use bytes::Bytes;

use super::{
    cloud_event::{CloudEvent, foreign, json},
    headers,
};
use crate::{envelope::Envelope, error::Error, frame, id::MessageId};

/// A message as the client gives it.
#[derive(Clone, Copy)]
pub(crate) struct Arrived<'a> {
    /// The message type that its subject speaks of.
    pub(crate) name: &'a str,
    pub(crate) headers: Option<&'a HeaderMap>,
    pub(crate) payload: &'a Bytes,
    /// The id for a foreign message without one; the same when the message is delivered again.
    pub(crate) id: MessageId,
}

/// The form in which a message was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Frame,
    StructuredCloudEvent,
    BinaryCloudEvent,
    Json,
}

/// The messages that one arrived as; the entries of a frame keep their own names.
///
/// # Errors
///
/// `Codec` for what is in none of the forms; as the form says for what breaks its limits.
pub(super) fn read(arrived: &Arrived<'_>) -> Result<Vec<Envelope>, Error> {
    read_form(arrived).map(|(_, messages)| messages)
}

/// [`read`], and in which form they were written.
pub(crate) fn read_form(arrived: &Arrived<'_>) -> Result<(Form, Vec<Envelope>), Error> {
    let Arrived { name, headers: map, payload, id } = *arrived;
    if payload.first() == Some(&frame::MAGIC) {
        return Ok((Form::Frame, frame::decode_messages(payload)?));
    }
    // What a header says comes before what the payload looks like: an event may carry another one.
    let declared = map.map_or(Ok(false), headers::declare_structured)?;
    let binary = map.filter(|_| !declared).map_or(Ok(None), headers::cloud_event)?;
    let (form, mut envelope) = if let Some(event) = binary {
        let data = if payload.is_empty() { Bytes::from_static(b"null") } else { json(payload)? };
        (Form::BinaryCloudEvent, event.envelope(name, id, data)?)
    } else if let Some(event) = CloudEvent::structured(payload, declared)? {
        let data = event.data(payload)?;
        (Form::StructuredCloudEvent, event.envelope(name, id, data)?)
    } else {
        (Form::Json, foreign(name, id, json(payload)?))
    };
    if let Some(map) = map {
        headers::add(&mut envelope.headers, map);
    }
    Ok((form, vec![envelope]))
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde_json::{Value, json};

    use super::*;
    use crate::{error::ErrorKind, message::Kind, transport::nats::cloud_event::write};

    const ID: MessageId = MessageId::from_u128(7);

    fn map(headers: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| map.append(*name, *value));
        map
    }

    fn arrive(headers: &[(&'static str, &str)], payload: &Bytes) -> Result<(Form, Envelope), Error> {
        let arrived = Arrived { name: "orders.Placed", headers: Some(&map(headers)), payload, id: ID };
        let (form, mut messages) = read_form(&arrived)?;
        assert_eq!((messages.len(), &*messages[0].name), (1, "orders.Placed"));
        Ok((form, messages.remove(0)))
    }

    fn structured(event: &Value) -> Result<(Form, Envelope), Error> {
        arrive(&[], &event.to_string().into())
    }

    fn refused(headers: &[(&'static str, &str)], payload: &str) -> String {
        let error = arrive(headers, &Bytes::copy_from_slice(payload.as_bytes())).expect_err("it cannot be read");
        assert_eq!(error.kind(), ErrorKind::Codec);
        error.to_string()
    }

    #[test]
    fn an_event_that_a_node_wrote_reads_back_the_same() {
        for payload in [r#"{"id":7}"#, "null", "[1,2]"] {
            let payload = Bytes::copy_from_slice(payload.as_bytes());
            let mut event = Envelope::new("orders.Placed".into(), Kind::Event, &"node.1".into(), payload);
            for (repeat, sequence, causation) in [(false, 0, None), (true, u64::MAX, Some(MessageId::new()))] {
                (event.repeat, event.sequence, event.causation) = (repeat, sequence, causation);
                let written = write(&event).expect("it can be written");
                assert_eq!(
                    arrive(&[("Nats-Msg-Id", "x")], &written).expect("it is whole"),
                    (Form::StructuredCloudEvent, event.clone())
                );
                let (_, read) = arrive(&[], &written).expect("it is whole");
                let here = written.as_ptr_range();
                assert!(&*read.payload == b"null" || here.contains(&read.payload.as_ptr()), "the payload was copied");
                event.headers.insert("tenant", "acme").expect("a good header");
                event.headers.insert("tracestate", "a=b").expect("a good header");
            }
        }
    }

    #[test]
    fn a_frame_holds_messages_that_keep_their_own_names() {
        let event = Envelope::new("other.Name".into(), Kind::Event, &"node1".into(), Bytes::from_static(b"1"));
        let frame = frame::encode_messages(&[event.clone(), event.clone()]).expect("it fits");
        let arrived = Arrived { name: "orders.Placed", headers: None, payload: &frame, id: ID };
        assert_eq!(read(&arrived).expect("it is whole"), [event.clone(), event]);
        let cut = frame.slice(..frame.len() - 1);
        assert!(read(&Arrived { payload: &cut, ..arrived }).is_err());
    }

    #[test]
    fn bare_json_becomes_an_event_and_what_is_missing_is_filled_in() {
        for payload in [" {\"id\":7}\n", "7", "null", r#"["1.0","x","y","z"]"#, r#"{"type":"a","data":1}"#] {
            let headers = [("tenant", "acme"), ("Nats-Msg-Id", "x"), ("Content-Type", "application/json")];
            let (form, event) = arrive(&headers, &Bytes::copy_from_slice(payload.as_bytes())).expect("it is JSON");
            assert_eq!((form, &*event.payload), (Form::Json, payload.trim().as_bytes()));
            assert_eq!((event.id, event.correlation, event.causation), (ID, ID, None));
            assert_eq!((&*event.source, event.kind, event.repeat, event.sequence), ("foreign", Kind::Event, true, 0));
            assert_eq!(event.headers.iter().collect::<Vec<_>>(), [("tenant", "acme")]);
            assert!(event.time_ms > 1_700_000_000_000);
        }
        for payload in ["", "no json", "{} {}", "{\"a\":", "\u{feff}{}"] {
            assert!(refused(&[], payload).contains("not JSON"), "{payload}");
        }
    }

    #[test]
    fn a_foreign_cloud_event_is_read_in_both_modes() {
        let id = MessageId::new();
        let attributes = [
            ("id", id.to_string()),
            ("source", "https://shop.example/orders".to_owned()),
            ("type", "com.example.other".to_owned()),
            ("time", "2025-11-23T13:13:20.5+01:00".to_owned()),
            ("correlationid", "conversation 1 ä".to_owned()),
            ("traceparent", "00-1-2-01".to_owned()),
            ("tracestate", "a=b".to_owned()),
            ("subject", "left out".to_owned()),
        ];
        let mut event = json!({"specversion": "1.0", "data": {"id": 7}, "dataschema": null});
        let encoded =
            |value: &str| percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string();
        let mut headers = map(&[("CE-SpecVersion", "1.0"), ("Content-Type", "Application/JSON; charset=utf-8")]);
        for (name, value) in &attributes {
            event[name] = json!(value);
            headers.insert(format!("Ce-{name}"), encoded(value));
        }
        let written = Bytes::from(event.to_string());
        let bare = Bytes::from_static(br#"{"id":7}"#);
        let binary = Arrived { name: "orders.Placed", headers: Some(&headers), payload: &bare, id: ID };
        let (form, messages) = read_form(&binary).expect("a CloudEvent");
        assert_eq!(form, Form::BinaryCloudEvent);
        assert_eq!(messages, [arrive(&[], &written).expect("a CloudEvent").1]);
        let declared = [("content-type", "application/cloudevents+json; charset=UTF-8")];
        assert_eq!(messages, [arrive(&declared, &written).expect("a CloudEvent").1]);

        let event = &messages[0];
        assert_eq!((event.id, event.time_ms, event.repeat), (id, 1_763_900_000_500, true));
        assert_eq!((&*event.source, &event.payload), ("https://shop.example/orders", &bare));
        assert_eq!(event.correlation, MessageId::derived(&[b"correlation", "conversation 1 ä".as_bytes()]));
        assert_eq!(event.headers.iter().collect::<Vec<_>>(), [("traceparent", "00-1-2-01"), ("tracestate", "a=b")]);
    }

    #[test]
    fn headers_decide_before_the_look_of_the_payload() {
        let inner = json!({"specversion": "1.0", "type": "t", "source": "/inner", "id": "1", "data": 1}).to_string();
        let (form, event) =
            arrive(&[("ce-specversion", "1.0"), ("ce-source", "/outer")], &inner.clone().into()).expect("one");
        assert_eq!((form, &*event.source, event.payload), (Form::BinaryCloudEvent, "/outer", inner.into()));
    }

    #[test]
    fn an_id_that_is_no_uuid_stands_for_itself_and_its_source() {
        let id = |source: &str, id: &str| {
            let event = json!({"specversion": "1.0", "type": "t", "source": source, "id": id, "data": 1});
            structured(&event).expect("a CloudEvent").1.id
        };
        assert_eq!(id("/a", "1"), id("/a", "1"));
        assert_ne!(id("/a", "1"), id("/b", "1"));
        assert_ne!(id("/a", "1"), id("/a", "2"));
        let without = json!({"specversion": "1.0", "type": "t", "data": 1});
        assert_eq!(structured(&without).expect("a CloudEvent").1.id, ID);
    }

    #[test]
    fn data_may_be_absent_and_may_be_base64() {
        let data = |name: &str, value: Value| {
            let mut event = json!({"specversion": "1.0", "type": "t", "source": "/a", "id": "1"});
            event[name] = value;
            arrive(&[("content-type", "application/cloudevents")], &event.to_string().into())
                .map(|(_, event)| event.payload)
        };
        assert_eq!(data("data_base64", json!(STANDARD.encode(r#" {"id":7}"#))).expect("it is JSON"), r#"{"id":7}"#);
        assert_eq!(data("data", json!("{}")).expect("a text is a JSON value"), r#""{}""#);
        assert_eq!(data("data", Value::Null).expect("it is JSON"), "null");
        assert_eq!(data("subject", json!("x")).expect("it has none"), "null");
        assert!(data("data_base64", json!("?")).is_err());
        assert!(data("data_base64", json!(STANDARD.encode("no json"))).is_err());
        let (_, empty) = arrive(&[("ce-specversion", "1.0")], &Bytes::new()).expect("it has none");
        assert_eq!(empty.payload, "null");
    }

    #[test]
    fn what_is_not_what_it_says_is_refused_with_the_reason() {
        let declared = ("Content-Type", "application/cloudevents+json");
        assert!(refused(&[declared], r#"{"data":1}"#).contains("none"));
        assert!(refused(&[declared], r#"{"specversion":"0.3","type":"t","data":1}"#).contains("0.3"));
        assert!(refused(&[declared], r#"["1.0"]"#).contains("object"));
        assert!(refused(&[("content-type", "application/cloudevents-batch+json")], "[]").contains("single"));
        assert!(refused(&[("ce-specversion", "1.0"), ("ce-time", "noon")], "1").contains("noon"));
        assert!(refused(&[("ce-specversion", "1.0"), ("ce-source", "%C0%A0")], "1").contains("UTF-8"));
        assert!(refused(&[("ce-specversion", "1.0"), ("content-type", "text/xml")], "1").contains("text/xml"));
        assert!(refused(&[("ce-specversion", "1.0")], "<xml/>").contains("not JSON"));
        for (part, says) in [
            (json!({"id": 5}), "invalid type"),
            (json!({"time": "2025-11-23"}), "2025-11-23"),
            (json!({"datacontenttype": "text/plain"}), "text/plain"),
            (json!({"data_base64": ""}), "either"),
            (json!({"catgaheaders": "{"}), "catgaheaders"),
            (json!({"catgasequence": "-1"}), "catgasequence"),
        ] {
            let mut event = json!({"specversion": "1.0", "type": "t", "source": "/a", "id": "1", "data": 1});
            for (name, value) in part.as_object().expect("an object") {
                event[name] = value.clone();
            }
            let error = structured(&event).expect_err("it cannot be read");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn quoted_values_and_escapes_of_headers_are_undone_once() {
        for (written, read) in [
            ("/a%20b", "/a b"),
            (r#""/a \"b\" %2541""#, r#"/a "b" %41"#),
            ("%e2%82%ac%", "€%"),
            ("\"", "\""),
            ("%+1", "%+1"),
        ] {
            let (_, event) = arrive(&[("ce-specversion", "1.0"), ("ce-source", written)], &"1".into()).expect("one");
            assert_eq!(&*event.source, read, "{written}");
        }
    }

    #[test]
    fn headers_that_cannot_travel_are_left_out_and_never_too_many_taken() {
        let long = "x".repeat(9_000);
        let headers =
            [("a", "1"), ("b c", "space"), ("d", "tab\t"), ("e", &long), ("NATS-x", "1"), ("traceparent", "t")];
        let mut many = HeaderMap::new();
        headers.iter().filter(|(name, _)| !name.contains(' ')).for_each(|(name, value)| many.insert(*name, *value));
        let payload = "1".into();
        let arrived = Arrived { name: "n", headers: Some(&many), payload: &payload, id: ID };
        let read = |arrived: &Arrived<'_>| super::read(arrived).expect("it is JSON").remove(0).headers;
        assert_eq!(read(&arrived).iter().collect::<Vec<_>>(), [("a", "1"), ("traceparent", "t")]);
        let mut many = HeaderMap::new();
        (0..10_000).for_each(|number| many.insert(format!("h{number:05}"), "x"));
        assert_eq!(read(&Arrived { headers: Some(&many), ..arrived }).iter().count(), crate::envelope::MAX_HEADERS);
    }
}
