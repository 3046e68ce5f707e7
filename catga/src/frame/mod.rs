//! The binary form in which messages travel between nodes, several at a time.
//!
//! A frame is a magic byte, a version, a type, a count and then so many entries; `docs/wire.md` describes all of it. What
//! every message has is read and written by hand, in [`entry`]: it decides what a message costs. What is rare, failures and
//! dead letters, stands in the [postcard wire format](https://postcard.jamesmunns.com/wire-format).
//! Decoding is bounded: a frame never holds more than [`MAX_MESSAGES`] entries, and no length in it is trusted beyond
//! the bytes that are there.

pub(crate) mod dead;
mod entry;
mod parts;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use self::{
    entry::Before,
    parts::{Reader, put_bytes},
};
use crate::{
    envelope::{Envelope, Reply},
    error::{Error, ErrorKind, RemoteError},
};

/// The first byte of a frame; no JSON text starts with it.
pub(crate) const MAGIC: u8 = 0xCA;
/// The version of the layout.
pub(crate) const VERSION: u8 = 3;
/// The most messages that one frame holds.
pub const MAX_MESSAGES: usize = 128;

const MESSAGES: u8 = 1;
/// The type of a frame of replies.
pub(crate) const REPLIES: u8 = 2;

/// What a reply begins with, behind its token.
const ANSWERED: u8 = 0;
const FAILED: u8 = 1;

/// The most bytes of messages that travel together; a larger message travels alone.
pub(crate) const MAX_TOGETHER: usize = 64 * 1024;

/// Takes the start of `items` that fits into one frame of at most `most` bytes; at least one.
pub(crate) fn take<T>(
    items: &mut std::iter::Peekable<impl Iterator<Item = T>>,
    limit: usize,
    most: usize,
    size: impl Fn(&T) -> usize,
) -> Vec<T> {
    // Nearly always all of them fit; growing step by step would move each envelope twice more.
    let mut batch = Vec::with_capacity(items.size_hint().0.min(limit));
    let mut bytes = 0;
    let fits = |batch: &Vec<T>, bytes: usize, item: &T| {
        batch.is_empty() || (batch.len() < limit && bytes + size(item) <= most)
    };
    while let Some(item) = items.next_if(|item| fits(&batch, bytes, item)) {
        bytes += size(&item);
        batch.push(item);
    }
    batch
}

/// Writes messages as one frame.
///
/// # Errors
///
/// `TooLarge` for more than [`MAX_MESSAGES`].
pub fn encode_messages(envelopes: &[Envelope]) -> Result<Bytes, Error> {
    // Few have more beside their payload.
    let size = |envelope: &Envelope| envelope.payload.len() + 64;
    let names = envelopes.first().map_or(0, |first| first.name.len() + first.source.len());
    encode(MESSAGES, envelopes, names + envelopes.iter().map(size).sum::<usize>(), entry::write)
}

/// How many messages a frame says that it holds.
pub(crate) fn count(frame: &Bytes) -> u64 {
    frame.get(3).map_or(0, |count| u64::from(*count))
}

/// Reads the messages of a frame; payloads share its memory.
///
/// # Errors
///
/// `Codec` for anything that is not a whole frame of messages in this version.
pub fn decode_messages(frame: &Bytes) -> Result<Vec<Envelope>, Error> {
    let mut before = Before::default();
    decode(MESSAGES, frame, |reader| entry::read(reader, &mut before))
}

/// Writes replies as one frame.
///
/// # Errors
///
/// `TooLarge` for more than [`MAX_MESSAGES`].
pub fn encode_replies(replies: &[Reply]) -> Result<Bytes, Error> {
    let size = |reply: &Reply| reply.result.as_ref().map_or(80, Bytes::len) + 16;
    encode(REPLIES, replies, replies.iter().map(size).sum(), |buffer, reply, _| {
        buffer.extend_from_slice(&reply.token.to_le_bytes());
        match &reply.result {
            Ok(payload) => {
                buffer.push(ANSWERED);
                put_bytes(buffer, payload)
            }
            Err(error) => {
                buffer.push(FAILED);
                put_bytes(buffer, &rare(&error.to_remote())?)
            }
        }
    })
}

/// Reads the replies of a frame; payloads share its memory.
///
/// # Errors
///
/// `Codec` for anything that is not a whole frame of replies in this version.
pub fn decode_replies(frame: &Bytes) -> Result<Vec<Reply>, Error> {
    decode(REPLIES, frame, |reader| {
        let token = reader.u64()?;
        let result = match reader.u8()? {
            ANSWERED => {
                let length = reader.length()?;
                Ok(reader.shared(length)?)
            }
            FAILED => Err(read_rare::<RemoteError>(reader.bytes()?)?.into()),
            _ => return Err(malformed("it holds a reply of an unknown form")),
        };
        Ok(Reply { token, result })
    })
}

fn malformed(what: &str) -> Error {
    Error::not_started(ErrorKind::Codec, format!("not a frame of this version: {what}"))
}

/// Writes what is rare.
fn rare(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    postcard::to_allocvec(value).map_err(|error| {
        Error::not_started(ErrorKind::Codec, format!("a frame cannot be written: {error}")).with_source(error)
    })
}

/// Reads what is rare.
fn read_rare<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(malformed("a part of it is longer than what it holds")),
        Err(error) => Err(malformed(&error.to_string())),
    }
}

/// Writes a frame; `size` is about how many bytes its entries take. Each is written with what is known of the one before.
fn encode<T>(
    frame_type: u8,
    items: &[T],
    size: usize,
    mut write: impl FnMut(&mut Vec<u8>, &T, Option<&T>) -> Result<(), Error>,
) -> Result<Bytes, Error> {
    if items.len() > MAX_MESSAGES {
        return Err(Error::not_started(
            ErrorKind::TooLarge,
            format!("a frame holds at most {MAX_MESSAGES} messages, not {}", items.len()),
        ));
    }
    let mut buffer = Vec::with_capacity(4 + size);
    buffer.extend([MAGIC, VERSION, frame_type, items.len() as u8]);
    let mut before = None;
    for item in items {
        write(&mut buffer, item, before.replace(item))?;
    }
    Ok(buffer.into())
}

fn decode<T>(
    frame_type: u8,
    frame: &Bytes,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let [MAGIC, VERSION, found, count, rest @ ..] = &frame[..] else {
        return Err(malformed("its first bytes are not those of a frame"));
    };
    if *found != frame_type || usize::from(*count) > MAX_MESSAGES {
        return Err(malformed("its type or its count is unknown"));
    }
    let mut reader = Reader::new(frame, rest);
    let mut items = Vec::with_capacity(usize::from(*count));
    for _ in 0..*count {
        items.push(read(&mut reader)?);
    }
    if !reader.is_at_the_end() {
        return Err(malformed("bytes follow its last entry"));
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        envelope::{RequestPart, RetryPart},
        id::MessageId,
        message::Kind,
    };

    fn envelope(payload: &[u8]) -> Envelope {
        let mut envelope =
            Envelope::new("orders.Placed".into(), Kind::Event, &"node1".into(), Bytes::copy_from_slice(payload));
        envelope.headers.insert("tenant", "acme").expect("a good header");
        envelope.causation = Some(MessageId::new());
        envelope.sequence = u64::MAX;
        envelope.incarnation = u64::MAX;
        envelope.repeat = true;
        envelope.request = Some(Box::new(RequestPart {
            token: 7,
            key: Some("key".into()),
            remaining_ms: 5_000,
            deadline_ms: u64::MAX,
            probe: false,
        }));
        envelope.retry = Some(Box::new(RetryPart {
            handler: "orders.note".into(),
            attempt: 3,
            crashes: 2,
            declared: true,
            replays: 1,
        }));
        envelope
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        for count in [0, 1, 2, MAX_MESSAGES] {
            let envelopes: Vec<_> = (0..count).map(|number| envelope(&vec![0xCA; number * 100])).collect();
            let frame = encode_messages(&envelopes).expect("it fits");
            assert_eq!(decode_messages(&frame).expect("it is whole"), envelopes);
        }
        let failed = Err(Error::handler("orders.place", crate::error::Failure::new("no", "never").details(1)));
        let frame =
            encode_replies(&[Reply::new(1, Ok(Bytes::from_static(b"{}"))), Reply::new(2, failed)]).expect("it fits");
        let replies = decode_replies(&frame).expect("it is whole");
        assert_eq!(replies[0].result.as_ref().expect("a reply"), "{}");
        let error = replies[1].result.as_ref().expect_err("an error");
        assert_eq!(error.failure().and_then(|failure| failure.details_as()), Some(1));
    }

    #[test]
    fn what_differs_from_the_entry_before_is_read_as_it_was() {
        let mut envelopes = Vec::new();
        for (name, source, incarnation) in [("a", "x", 1), ("a", "x", 1), ("b", "x", 2), ("b", "y", 2), ("a", "x", 1)] {
            let mut own = Envelope::new(name.into(), Kind::Event, &source.into(), Bytes::new());
            own.incarnation = incarnation;
            envelopes.push(own);
        }
        envelopes[3].correlation = envelopes[0].id;
        let frame = encode_messages(&envelopes).expect("it fits");
        assert_eq!(decode_messages(&frame).expect("it is whole"), envelopes);

        // Without the first entry the second has nothing to refer to.
        let first = encode_messages(&envelopes[..1]).expect("it fits").len();
        let rest = [&[MAGIC, VERSION, MESSAGES, 4], &frame[first..]].concat();
        assert_eq!(decode_messages(&rest.into()).expect_err("nothing before").kind(), ErrorKind::Codec);
    }

    #[test]
    fn too_many_messages_are_refused_before_they_are_written() {
        let envelopes = vec![envelope(b"x"); MAX_MESSAGES + 1];
        assert_eq!(encode_messages(&envelopes).expect_err("too many").kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn a_message_takes_no_more_of_a_frame_than_its_size() {
        let mut largest = Envelope { payload: vec![0; 1 << 20].into(), ..envelope(b"") };
        let most = MessageId::from_u128(u128::MAX);
        (largest.id, largest.correlation, largest.causation, largest.time_ms) = (most, most, Some(most), u64::MAX);
        largest.headers.insert("long", "x".repeat(8_000)).expect("a good header");
        let key = Some("k".repeat(1_000));
        largest.request = Some(Box::new(RequestPart {
            token: u64::MAX,
            key,
            remaining_ms: u64::MAX,
            deadline_ms: u64::MAX,
            probe: true,
        }));
        let (handler, most) = ("h".repeat(1_000), u32::MAX);
        largest.retry =
            Some(Box::new(RetryPart { handler, attempt: most, crashes: most, declared: true, replays: most }));
        for envelope in [envelope(b"x"), largest] {
            let bytes = encode_messages(std::slice::from_ref(&envelope)).expect("it fits").len();
            assert!(bytes <= envelope.size(), "{bytes} of {}", envelope.size());
        }
    }

    #[test]
    fn no_part_of_a_frame_is_a_frame() {
        let frame = encode_messages(&[envelope(b"first"), envelope(b"second")]).expect("it fits");
        for end in 0..frame.len() {
            assert!(decode_messages(&frame.slice(..end)).is_err(), "{end} of {} bytes", frame.len());
        }
        let longer = Bytes::from([&frame[..], &[0]].concat());
        assert!(decode_messages(&longer).is_err());
        assert!(decode_replies(&frame).is_err(), "messages are no replies");
    }

    #[test]
    fn hostile_bytes_end_in_an_error_or_a_message_and_never_in_a_panic() {
        let frame = encode_messages(&[envelope(b"first"), envelope(b"second")]).expect("it fits");
        let mut generator = fastrand::Rng::with_seed(7);
        for _ in 0..50_000 {
            let mut bytes = frame.to_vec();
            for _ in 0..generator.usize(1..4) {
                let at = generator.usize(3..bytes.len());
                bytes[at] = generator.u8(..);
            }
            // Either is fine: a changed byte may still be a message.
            drop(decode_messages(&bytes.into()));
        }
        for length in 0..200 {
            let mut bytes = vec![MAGIC, VERSION, MESSAGES, generator.u8(..)];
            bytes.extend(std::iter::repeat_with(|| generator.u8(..)).take(length));
            drop(decode_messages(&bytes.into()));
        }
    }
}
