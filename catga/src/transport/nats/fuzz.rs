//! Any message reads back from each form that it can be written in, and no bytes whatever make a reader panic.

use std::sync::Arc;

use async_nats::HeaderMap;
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use serde_json::Value;

use super::{
    cloud_event::write,
    wire::{Arrived, Form, read_form},
};
use crate::{
    dead_letter::{DeadContent, DeadLetter},
    envelope::{Envelope, Headers, Reply, RequestPart, RetryPart},
    error::{Error, ErrorKind, Failure},
    frame::{
        dead::{decode_dead, encode_dead},
        decode_messages, decode_replies, encode_messages, encode_replies,
    },
    id::MessageId,
    message::Kind,
};

/// The last millisecond that RFC 3339 can write.
const END_OF_TIME: u64 = 253_402_300_799_999;

fn id() -> impl Strategy<Value = MessageId> {
    any::<u128>().prop_map(MessageId::from_u128)
}

fn name() -> impl Strategy<Value = Arc<str>> {
    any::<String>().prop_map(Arc::from)
}

fn headers() -> impl Strategy<Value = Headers> {
    let name = prop_oneof![4 => "[A-Za-z0-9._-]{1,8}", 1 => Just("traceparent".to_owned()), 1 => Just("tracestate".to_owned())];
    vec((name, "\\PC{0,12}"), 0..6).prop_map(|pairs| {
        let mut headers = Headers::new();
        pairs.into_iter().for_each(|(name, value)| headers.insert(name, value).expect("few good headers"));
        headers
    })
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((any::<String>(), inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn request() -> impl Strategy<Value = RequestPart> {
    (any::<u64>(), any::<Option<String>>(), any::<u64>(), any::<u64>(), any::<bool>()).prop_map(
        |(token, key, remaining_ms, deadline_ms, probe)| RequestPart { token, key, remaining_ms, deadline_ms, probe },
    )
}

fn retry() -> impl Strategy<Value = RetryPart> {
    (any::<String>(), any::<u32>(), any::<u32>(), any::<bool>(), any::<u32>()).prop_map(
        |(handler, attempt, crashes, declared, replays)| RetryPart { handler, attempt, crashes, declared, replays },
    )
}

/// An event as it is published; a payload of JSON.
fn event() -> impl Strategy<Value = Envelope> {
    let ids = (id(), id(), option::of(id()));
    (ids, name(), name(), 0..=END_OF_TIME, headers(), json(), any::<bool>(), any::<(u64, u64)>()).prop_map(
        |((id, correlation, causation), name, source, time_ms, headers, payload, repeat, numbers)| Envelope {
            id,
            correlation,
            causation,
            time_ms,
            headers,
            repeat,
            sequence: numbers.0,
            incarnation: numbers.1,
            ..Envelope::new(name, Kind::Event, &source, payload.to_string().into())
        },
    )
}

/// A message with everything that a frame carries.
fn message() -> impl Strategy<Value = Envelope> {
    let kind = prop_oneof![Just(Kind::Command), Just(Kind::Query), Just(Kind::Event)];
    (event(), kind, any::<u64>(), option::of(request()), option::of(retry()), vec(any::<u8>(), 0..64)).prop_map(
        |(event, kind, time_ms, request, retry, payload)| Envelope {
            kind,
            time_ms,
            request: request.map(Box::new),
            retry: retry.map(Box::new),
            payload: payload.into(),
            ..event
        },
    )
}

fn letter() -> impl Strategy<Value = DeadLetter> {
    let content = prop_oneof![
        message().prop_map(|message| DeadContent::Message(Box::new(message))),
        vec(any::<u8>(), 0..64).prop_map(|bytes| DeadContent::Unreadable(bytes.into())),
    ];
    let failure = (any::<String>(), any::<String>(), any::<Option<String>>())
        .prop_map(|(code, message, details)| Failure::new(code, message).details(details).transient());
    let counts = (any::<u32>(), any::<u32>(), any::<u64>());
    (id(), name(), option::of(name()), counts, failure, name(), content).prop_map(
        |(id, durable, handler, (attempts, replays, time_ms), failure, node, content)| DeadLetter {
            id,
            durable,
            handler,
            attempts,
            replays,
            failure,
            node,
            time_ms,
            content,
        },
    )
}

/// The headers of an event in the order in which a CloudEvent gives them back.
fn reordered(mut event: Envelope) -> Envelope {
    let last = |name: &str, value: &str| ["traceparent", "tracestate"].contains(&name) && !value.is_empty();
    let mut headers: Vec<_> = event.headers.iter().map(|(name, value)| (last(name, value), name, value)).collect();
    headers.sort_by_key(|(last, name, _)| last.then_some(*name));
    let mut sorted = Headers::new();
    headers.into_iter().for_each(|(_, name, value)| sorted.insert(name, value).expect("a good header"));
    event.headers = sorted;
    event
}

/// Gives what arrives to everything that reads; says whether it was a message.
fn read_all(headers: Option<&HeaderMap>, payload: &Bytes) -> bool {
    drop(decode_replies(payload));
    drop(decode_dead(payload));
    match read_form(&Arrived { name: "n", headers, payload, id: MessageId::from_u128(1) }) {
        Ok((form, messages)) => {
            assert!(form == Form::Frame || messages.len() == 1);
            messages.iter().for_each(|message| message.headers.check().expect("headers that can travel"));
            true
        }
        Err(error) => {
            // What a frame holds may also break the limits of headers.
            let kinds = [ErrorKind::Codec, ErrorKind::TooLarge, ErrorKind::Configuration];
            assert!(kinds.contains(&error.kind()), "{error:?}");
            false
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_messages_read_back_from_a_frame(messages in vec(message(), 0..4)) {
        let frame = encode_messages(&messages).expect("it fits");
        prop_assert_eq!(decode_messages(&frame).expect("it is whole"), messages);
    }

    #[test]
    fn any_event_reads_back_from_a_cloud_event(event in event()) {
        let written = write(&event).expect("it can be written");
        let arrived = Arrived { name: &event.name, headers: None, payload: &written, id: MessageId::from_u128(1) };
        let (form, messages) = read_form(&arrived).expect("it is whole");
        prop_assert_eq!(form, Form::StructuredCloudEvent);
        prop_assert_eq!(messages, [reordered(event)]);
    }

    #[test]
    fn any_dead_letter_reads_back(letter in letter()) {
        let read = decode_dead(&encode_dead(&letter).expect("it can be written")).expect("it is whole");
        prop_assert_eq!(format!("{read:?}"), format!("{letter:?}"));
    }

    #[test]
    fn any_text_in_the_headers_is_no_panic(
        pairs in vec(("(ce-)?(specversion|id|time|source|Content-Type|x)?[!-9;-~]{0,3}", "[ -~\\PC]{0,16}"), 0..6),
        version in option::of(Just("1.0")),
        payload in prop_oneof![json().prop_map(|value| value.to_string()), any::<String>()],
    ) {
        let mut headers = HeaderMap::new();
        version.iter().for_each(|version| headers.insert("ce-specversion", *version));
        for (name, value) in &pairs {
            // What the client would not read does not arrive.
            if let (Ok(name), Ok(value)) = (name.parse::<async_nats::HeaderName>(), value.parse::<async_nats::HeaderValue>()) {
                headers.append(name, value);
            }
        }
        read_all(Some(&headers), &payload.into());
    }

    #[test]
    fn any_bytes_are_no_panic(mut bytes in vec(any::<u8>(), 0..96), magic in any::<bool>(), frame_type in 0u8..5, count in 0u8..4) {
        if magic {
            bytes.splice(..0, [crate::frame::MAGIC, crate::frame::VERSION, frame_type, count]);
        }
        read_all(None, &bytes.into());
    }
}

/// Good messages of every form, to be spoilt.
fn seeds() -> Vec<Bytes> {
    let mut event = Envelope::new(
        "orders.Placed".into(),
        Kind::Event,
        &"node1".into(),
        Bytes::from_static(br#"{"a":[1,"\u00e4"]}"#),
    );
    event.causation = Some(event.id);
    event.sequence = 9;
    event.headers.insert("tenant", "acme").expect("a good header");
    event.headers.insert("traceparent", "00-1-2-01").expect("a good header");
    let mut request = Envelope { kind: Kind::Command, ..event.clone() };
    request.request = Some(Box::new(RequestPart {
        token: 1,
        key: Some("k".into()),
        remaining_ms: 5_000,
        deadline_ms: 9,
        probe: false,
    }));
    let failure = Failure::new("no", "never").details(7);
    let error = Error::handler("orders.place", failure.clone());
    let letter = DeadLetter {
        id: event.id,
        durable: "n.node1".into(),
        handler: Some("orders.note".into()),
        attempts: 4,
        replays: 0,
        failure,
        node: "node1".into(),
        time_ms: event.time_ms,
        content: DeadContent::Message(Box::new(event.clone())),
    };
    let foreign = br#"{"specversion":"1.0","id":"1","source":"/a","type":"t","time":"2025-11-23T12:13:20Z","data_base64":"MQ=="}"#;
    vec![
        write(&event).expect("it can be written"),
        encode_messages(&[event.clone(), request]).expect("it fits"),
        encode_replies(&[Reply::new(1, Ok(event.payload.clone())), Reply::new(2, Err(error))]).expect("it fits"),
        encode_dead(&letter).expect("it can be written"),
        Bytes::from_static(foreign),
        event.payload,
    ]
}

/// Changes, removes, repeats and mixes bytes.
fn spoil(generator: &mut fastrand::Rng, seeds: &[Bytes]) -> Vec<u8> {
    let mut bytes = seeds[generator.usize(..seeds.len())].to_vec();
    for _ in 0..generator.usize(1..4) {
        let at = generator.usize(..=bytes.len());
        match generator.u8(..6) {
            0 if at < bytes.len() => bytes[at] = generator.u8(..),
            1 if at < bytes.len() => bytes[at] ^= 1 << generator.u8(..8),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, *generator.choice(br#"{}[]",:\0e-%"#).unwrap_or(&0)),
            4 => bytes.extend_from_within(at..),
            _ => {
                let other = &seeds[generator.usize(..seeds.len())];
                let from = generator.usize(..other.len());
                let until = (from + generator.usize(..16)).min(other.len());
                bytes.splice(at..at, other[from..until].iter().copied());
            }
        }
        bytes.truncate(4_096);
    }
    bytes
}

/// Reads so many spoilt messages; how many still were messages.
fn read_spoilt(seed: u64, inputs: u64) -> u64 {
    let (mut generator, seeds) = (fastrand::Rng::with_seed(seed), seeds());
    (0..inputs).map(|_| u64::from(read_all(None, &spoil(&mut generator, &seeds).into()))).sum()
}

#[test]
fn spoilt_messages_are_no_panic() {
    let read = read_spoilt(3, 20_000);
    assert!((200..19_000).contains(&read), "{read} of 20000 were messages: spoiling is too weak or too strong");
}

/// `CATGA_FUZZ=10000000 cargo test --release -p catga --features nats --lib -- --ignored fuzz --nocapture`
#[test]
#[ignore = "runs for minutes, and by hand"]
fn many_spoilt_messages_are_no_panic() {
    let inputs = std::env::var("CATGA_FUZZ").ok().and_then(|count| count.parse().ok()).unwrap_or(10_000_000);
    let seed = fastrand::u64(..);
    println!("{inputs} inputs from seed {seed}");
    println!("{} of them were messages", read_spoilt(seed, inputs));
}
