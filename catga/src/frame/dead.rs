//! A dead letter as a frame of its own, for transports that keep it outside the process.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    decode, encode,
    entry::{self, Before},
    malformed,
    parts::put_bytes,
    rare, read_rare,
};
use crate::{
    dead_letter::{DeadContent, DeadLetter},
    error::{Error, Failure},
    id::MessageId,
};

/// The type of a frame that holds a dead letter.
pub(crate) const DEAD: u8 = 3;

/// The most bytes that each text of a failure takes: what is stored beside the event must not keep it from fitting.
const MAX_TEXT: usize = 4 * 1024;

/// What a dead letter holds, behind what is said of it.
const MESSAGE: u8 = 0;
const UNREADABLE: u8 = 1;

/// What is said of a dead letter beside what it holds.
#[derive(Serialize, Deserialize)]
struct About {
    id: MessageId,
    durable: Arc<str>,
    handler: Option<Arc<str>>,
    attempts: u32,
    replays: u32,
    failure: Failure,
    node: Arc<str>,
    time_ms: u64,
}

/// Writes a dead letter as a frame. Long texts of its failure are cut, and long details are left out.
///
/// # Errors
///
/// `Codec` if it cannot be written.
pub fn encode_dead(letter: &DeadLetter) -> Result<Bytes, Error> {
    encode(DEAD, std::slice::from_ref(letter), 0, |buffer, letter, _| {
        let about = About {
            id: letter.id,
            durable: letter.durable.clone(),
            handler: letter.handler.clone(),
            attempts: letter.attempts,
            replays: letter.replays,
            failure: letter.failure.bounded(MAX_TEXT),
            node: letter.node.clone(),
            time_ms: letter.time_ms,
        };
        put_bytes(buffer, &rare(&about)?)?;
        match &letter.content {
            DeadContent::Message(envelope) => {
                buffer.push(MESSAGE);
                entry::write(buffer, envelope, None)
            }
            DeadContent::Unreadable(bytes) => {
                buffer.push(UNREADABLE);
                put_bytes(buffer, bytes)
            }
        }
    })
}

/// Reads a dead letter; what it holds shares the memory of the frame.
///
/// # Errors
///
/// `Codec` for anything that is not a whole frame of one dead letter in this version.
pub fn decode_dead(frame: &Bytes) -> Result<DeadLetter, Error> {
    let mut letters = decode(DEAD, frame, |reader| {
        let about: About = read_rare(reader.bytes()?)?;
        let content = match reader.u8()? {
            MESSAGE => DeadContent::Message(Box::new(entry::read(reader, &mut Before::default())?)),
            UNREADABLE => {
                let length = reader.length()?;
                DeadContent::Unreadable(reader.shared(length)?)
            }
            _ => return Err(malformed("it holds something unknown")),
        };
        Ok(DeadLetter {
            id: about.id,
            durable: about.durable,
            handler: about.handler,
            attempts: about.attempts,
            replays: about.replays,
            failure: about.failure,
            node: about.node,
            time_ms: about.time_ms,
            content,
        })
    })?;
    match (letters.pop(), letters.is_empty()) {
        (Some(letter), true) => Ok(letter),
        _ => Err(malformed("a dead letter is alone in its frame")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{envelope::Envelope, frame::decode_messages, message::Kind};

    fn letter(failure: Failure, content: DeadContent) -> DeadLetter {
        DeadLetter {
            id: MessageId::new(),
            durable: "n.node1".into(),
            handler: Some("orders.note".into()),
            attempts: 4,
            replays: 1,
            failure,
            node: "node1".into(),
            time_ms: u64::MAX,
            content,
        }
    }

    fn message() -> DeadContent {
        let mut envelope =
            Envelope::new("orders.Placed".into(), Kind::Event, &"node2".into(), Bytes::from_static(b"7"));
        envelope.headers.insert("tenant", "acme").expect("a good header");
        DeadContent::Message(Box::new(envelope))
    }

    fn written(letter: &DeadLetter) -> Bytes {
        encode_dead(letter).expect("it can be written")
    }

    #[test]
    fn a_dead_letter_reads_back_the_same() {
        let failure = Failure::new("stock", "no tea left").details("tea").permanent();
        for content in [
            message(),
            DeadContent::Unreadable(Bytes::from_static(&[0xCA, 0xFF])),
            DeadContent::Unreadable(Bytes::new()),
        ] {
            let mut letter = letter(failure.clone(), content);
            for handler in [None, Some("orders.note".into())] {
                letter.handler = handler;
                let read = decode_dead(&written(&letter)).expect("it is whole");
                assert_eq!(format!("{read:?}"), format!("{letter:?}"));
            }
        }
    }

    #[test]
    fn long_texts_of_a_failure_are_cut_between_characters_and_long_details_left_out() {
        let long = format!("x{}", "ä".repeat(MAX_TEXT));
        let failure = Failure::new(long.clone(), &long).details(&long).transient();
        let read = decode_dead(&written(&letter(failure, message()))).expect("it is whole").failure;
        assert_eq!((read.message().len(), read.code().len()), (MAX_TEXT - 1, MAX_TEXT - 1));
        assert!(long.starts_with(read.message()));
        assert_eq!(read.details_as::<String>(), None);
        assert_eq!(read.retry(), crate::error::Retry::Transient);
    }

    #[test]
    fn no_part_of_a_dead_letter_is_one_and_no_other_frame_is() {
        let frame = written(&letter(Failure::new("no", "never"), message()));
        for end in 0..frame.len() {
            assert!(decode_dead(&frame.slice(..end)).is_err(), "{end} of {} bytes", frame.len());
        }
        assert!(decode_messages(&frame).is_err(), "a dead letter is no message");
        for count in [0, 2, 255] {
            let mut other = frame.to_vec();
            other[3] = count;
            other.extend_from_within(4..);
            assert!(decode_dead(&other.into()).is_err(), "{count} letters");
        }
    }

    #[test]
    fn hostile_bytes_are_no_panic() {
        let frame = written(&letter(Failure::new("no", "never").details(7), message()));
        let mut generator = fastrand::Rng::with_seed(11);
        for _ in 0..20_000 {
            let mut bytes = frame.to_vec();
            for _ in 0..generator.usize(1..4) {
                let at = generator.usize(3..bytes.len());
                bytes[at] = generator.u8(..);
            }
            // A changed byte may still be a letter.
            drop(decode_dead(&bytes.into()));
        }
    }
}
