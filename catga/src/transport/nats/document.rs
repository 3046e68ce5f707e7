//! Holds `docs/wire.md` against the code: the examples byte by byte, and the numbers of variants.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::{cloud_event::write, names::Names};
use crate::{
    dead_letter::{DeadContent, DeadLetter},
    envelope::{Envelope, Headers, Reply},
    error::{Error, ErrorKind, Failure, Outcome, Retry},
    frame::{
        MAX_MESSAGES,
        dead::{decode_dead, encode_dead},
        decode_messages, decode_replies, encode_messages, encode_replies,
    },
    id::MessageId,
    message::Kind,
};

const DOCUMENT: &str = include_str!("../../../../docs/wire.md");
const ID: &str = "01900000-0000-7000-8000-000000000001";
const TIME: u64 = 1_763_900_000_123;

/// The blocks of code in one language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    DOCUMENT.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

/// The bytes of a dump, without the words beside them.
fn bytes(dump: &str) -> Bytes {
    let digits = dump.lines().flat_map(|line| line.split(';').next().unwrap_or_default().split_whitespace());
    digits.map(|digits| u8::from_str_radix(digits, 16).expect("two hexadecimal digits")).collect::<Vec<_>>().into()
}

fn event() -> Envelope {
    let id: MessageId = ID.parse().expect("an id");
    let mut event = Envelope::new("orders.Placed".into(), Kind::Event, &"node1".into(), br#"{"id":7}"#[..].into());
    (event.id, event.correlation, event.time_ms) = (id, id, TIME);
    (event.sequence, event.incarnation) = (1, 2);
    event.headers.insert("tenant", "acme").expect("a good header");
    event
}

#[test]
fn the_documented_bytes_are_those_that_are_written_and_read() {
    let [messages, replies, letter] = blocks("hex")[..] else { panic!("three dumps") };
    let (messages, replies, letter) = (bytes(messages), bytes(replies), bytes(letter));

    let mut second = Envelope { payload: br#"{"id":8}"#[..].into(), headers: Headers::new(), sequence: 2, ..event() };
    second.id = MessageId::from_u128(second.id.as_u128() + 1);
    second.correlation = second.id;
    let written = [event(), second];
    assert_eq!(encode_messages(&written).expect("it fits"), messages);
    assert_eq!(decode_messages(&messages).expect("it is whole"), written);

    let refused = Error::handler("orders.place", Failure::new("stock", "no tea left").details("tea").permanent());
    let written = [Reply::new(1, Ok(event().payload)), Reply::new(2, Err(refused))];
    assert_eq!(encode_replies(&written).expect("it fits"), replies);
    assert_eq!(format!("{:?}", decode_replies(&replies).expect("it is whole")), format!("{written:?}"));

    let written = DeadLetter {
        id: event().id,
        durable: "n.node1".into(),
        handler: Some("orders.note".into()),
        attempts: 4,
        replays: 0,
        failure: Failure::new("error", "no paper"),
        node: "node1".into(),
        time_ms: TIME,
        content: DeadContent::Unreadable(Bytes::from_static(&[0xCA, 0xFE])),
    };
    assert_eq!(encode_dead(&written).expect("it can be written"), letter);
    assert_eq!(format!("{:?}", decode_dead(&letter).expect("it is whole")), format!("{written:?}"));
}

#[test]
fn the_documented_cloud_event_is_the_one_that_is_written() {
    let [documented] = blocks("json")[..] else { panic!("one example") };
    let documented: Value = serde_json::from_str(documented).expect("it is JSON");
    let written = write(&event()).expect("it can be written");
    assert_eq!(serde_json::from_slice::<Value>(&written).expect("it is JSON"), documented);
}

#[test]
fn the_documented_numbers_of_variants_are_those_on_the_wire() {
    fn check<T: Serialize + std::fmt::Debug>(variants: &[T]) {
        for variant in variants {
            let number = postcard::to_allocvec(variant).expect("it can be written");
            let documented = format!("{} `{variant:?}`", number[0]);
            assert!(DOCUMENT.contains(&documented), "{documented}");
        }
    }
    check(&[Kind::Command, Kind::Query, Kind::Event]);
    check(&[Outcome::NotStarted, Outcome::Unknown, Outcome::Failed]);
    check(&[Retry::Unmarked, Retry::Transient, Retry::Permanent]);
    check(&[
        ErrorKind::NoHandler,
        ErrorKind::Overloaded,
        ErrorKind::TimedOut,
        ErrorKind::KeyReused,
        ErrorKind::Handler,
        ErrorKind::Codec,
        ErrorKind::TooLarge,
        ErrorKind::Transport,
        ErrorKind::ShuttingDown,
        ErrorKind::Configuration,
        ErrorKind::NotFound,
        ErrorKind::Replaced,
    ]);
}

#[test]
fn the_documented_subjects_and_limits_are_the_ones_in_use() {
    let names = Names::new("{app}");
    let subjects = [
        names.event("{Name}"),
        names.reliable("{Name}"),
        names.retry("{durable}"),
        names.node("{node}", "request"),
        names.node("{node}", "probe"),
        names.reply("{node}", "frame"),
        names.request("{Name}"),
        names.cluster(),
        names.dead("{id}"),
    ];
    for subject in subjects {
        assert!(DOCUMENT.contains(&format!("\n| `{subject}` |")), "{subject}");
    }
    assert!(DOCUMENT.contains(&format!("| entries of a frame | {MAX_MESSAGES};")));
    let headers = (crate::envelope::MAX_HEADERS, crate::envelope::MAX_HEADER_BYTES / 1_024);
    assert!(DOCUMENT.contains(&format!("| headers of a message | {}, and {} KiB,", headers.0, headers.1)));
}
