//! One message as it stands in a frame: first what each has, at fixed places, then what few have, each part announced by a
//! bit; the payload comes last.
//!
//! Nearly all entries of a frame have the name, the source and the time of the entry before, and the sequence that follows:
//! that is not written. So an entry is read and written in a few steps, which is what a message mostly costs beside its
//! payload.

use std::sync::Arc;

use super::{
    malformed,
    parts::{Reader, as_u32, put_text, put_u32},
};
use crate::{
    envelope::{Envelope, Headers, MAX_HEADERS, RequestPart, RetryPart},
    error::Error,
    id::MessageId,
    message::Kind,
};

/// The bits that say which parts an entry has. The two lowest are the kind.
mod bit {
    pub(super) const KIND: u16 = 0b11;
    pub(super) const REPEAT: u16 = 1 << 2;
    /// Without it, that of the entry before.
    pub(super) const NAME: u16 = 1 << 3;
    /// Without it, that of the entry before.
    pub(super) const SOURCE: u16 = 1 << 4;
    /// Without it, that of the entry before.
    pub(super) const TIME: u16 = 1 << 5;
    /// Without it, that of the entry before.
    pub(super) const INCARNATION: u16 = 1 << 6;
    /// Without it, the one that follows that of the entry before, and 0 after 0.
    pub(super) const SEQUENCE: u16 = 1 << 7;
    /// Without it, the id.
    pub(super) const CORRELATION: u16 = 1 << 8;
    pub(super) const CAUSATION: u16 = 1 << 9;
    pub(super) const HEADERS: u16 = 1 << 10;
    pub(super) const REQUEST: u16 = 1 << 11;
    pub(super) const PROBE: u16 = 1 << 12;
    pub(super) const KEY: u16 = 1 << 13;
    pub(super) const RETRY: u16 = 1 << 14;
    pub(super) const DECLARED: u16 = 1 << 15;
}

/// The bits, the id and the length of the payload.
const HEAD: usize = 22;

/// Writes an entry behind the one of the message before.
pub(super) fn write(buffer: &mut Vec<u8>, envelope: &Envelope, before: Option<&Envelope>) -> Result<(), Error> {
    let after = |same: fn(&Envelope, &Envelope) -> bool| before.is_some_and(|before| same(before, envelope));
    let mut bits = match envelope.kind {
        Kind::Command => 0,
        Kind::Query => 1,
        Kind::Event => 2,
    };
    let mut say = |bit, present: bool| bits |= if present { bit } else { 0 };
    let name = !after(|before, this| same_text(&before.name, &this.name));
    let source = !after(|before, this| same_text(&before.source, &this.source));
    let time = !after(|before, this| before.time_ms == this.time_ms);
    let incarnation = !after(|before, this| before.incarnation == this.incarnation);
    let sequence = next(before.map_or(0, |before| before.sequence)) != envelope.sequence;
    let correlation = envelope.correlation.as_u128() != envelope.id.as_u128();
    let (request, retry) = (envelope.request.as_deref(), envelope.retry.as_deref());
    let key = request.and_then(|request| request.key.as_deref());
    say(bit::REPEAT, envelope.repeat);
    say(bit::NAME, name);
    say(bit::SOURCE, source);
    say(bit::TIME, time);
    say(bit::INCARNATION, incarnation);
    say(bit::SEQUENCE, sequence);
    say(bit::CORRELATION, correlation);
    say(bit::CAUSATION, envelope.causation.is_some());
    say(bit::HEADERS, !envelope.headers.is_empty());
    say(bit::REQUEST, request.is_some());
    say(bit::PROBE, request.is_some_and(|request| request.probe));
    say(bit::KEY, key.is_some());
    say(bit::RETRY, retry.is_some());
    say(bit::DECLARED, retry.is_some_and(|retry| retry.declared));

    let mut head = [0; HEAD];
    head[..2].copy_from_slice(&bits.to_le_bytes());
    head[2..18].copy_from_slice(&id_bytes(envelope.id));
    head[18..].copy_from_slice(&as_u32(envelope.payload.len())?.to_le_bytes());
    buffer.extend_from_slice(&head);
    if name {
        put_text(buffer, &envelope.name)?;
    }
    if source {
        put_text(buffer, &envelope.source)?;
    }
    if time {
        buffer.extend_from_slice(&envelope.time_ms.to_le_bytes());
    }
    if incarnation {
        buffer.extend_from_slice(&envelope.incarnation.to_le_bytes());
    }
    if sequence {
        buffer.extend_from_slice(&envelope.sequence.to_le_bytes());
    }
    if correlation {
        buffer.extend_from_slice(&id_bytes(envelope.correlation));
    }
    if let Some(causation) = envelope.causation {
        buffer.extend_from_slice(&id_bytes(causation));
    }
    if !envelope.headers.is_empty() {
        put_u32(buffer, envelope.headers.iter().count())?;
        for (name, value) in envelope.headers.iter() {
            put_text(buffer, name)?;
            put_text(buffer, value)?;
        }
    }
    if let Some(request) = request {
        for number in [request.token, request.remaining_ms, request.deadline_ms] {
            buffer.extend_from_slice(&number.to_le_bytes());
        }
    }
    if let Some(key) = key {
        put_text(buffer, key)?;
    }
    if let Some(retry) = retry {
        for number in [retry.attempt, retry.crashes, retry.replays] {
            buffer.extend_from_slice(&number.to_le_bytes());
        }
        put_text(buffer, &retry.handler)?;
    }
    buffer.extend_from_slice(&envelope.payload);
    Ok(())
}

/// Reads an entry; its payload shares the memory of the frame.
pub(super) fn read(reader: &mut Reader<'_>, before: &mut Before) -> Result<Envelope, Error> {
    let bits = reader.u16()?;
    let has = |bit| bits & bit != 0;
    let kind = match bits & bit::KIND {
        0 => Kind::Command,
        1 => Kind::Query,
        2 => Kind::Event,
        _ => return Err(malformed("it holds a message of an unknown kind")),
    };
    if has(bit::PROBE | bit::KEY) && !has(bit::REQUEST) || has(bit::DECLARED) && !has(bit::RETRY) {
        return Err(malformed("it says something of a part that is not there"));
    }
    let id = reader.id()?;
    let length = reader.length()?;
    if has(bit::NAME) {
        before.name = Some(reader.text()?.into());
    }
    if has(bit::SOURCE) {
        before.source = Some(reader.text()?.into());
    }
    if has(bit::TIME) {
        before.time_ms = Some(reader.u64()?);
    }
    if has(bit::INCARNATION) {
        before.incarnation = Some(reader.u64()?);
    }
    before.sequence = if has(bit::SEQUENCE) { reader.u64()? } else { next(before.sequence) };
    let correlation = if has(bit::CORRELATION) { reader.id()? } else { id };
    let causation = if has(bit::CAUSATION) { Some(reader.id()?) } else { None };
    let headers = if has(bit::HEADERS) { read_headers(reader)? } else { Headers::new() };
    let request = if has(bit::REQUEST) {
        Some(Box::new(RequestPart {
            token: reader.u64()?,
            remaining_ms: reader.u64()?,
            deadline_ms: reader.u64()?,
            probe: has(bit::PROBE),
            key: if has(bit::KEY) { Some(reader.text()?.to_owned()) } else { None },
        }))
    } else {
        None
    };
    let retry = if has(bit::RETRY) {
        Some(Box::new(RetryPart {
            attempt: reader.u32()?,
            crashes: reader.u32()?,
            replays: reader.u32()?,
            declared: has(bit::DECLARED),
            handler: reader.text()?.to_owned(),
        }))
    } else {
        None
    };
    let Before {
        name: Some(name), source: Some(source), time_ms: Some(time_ms), incarnation: Some(incarnation), ..
    } = before
    else {
        return Err(malformed("its first entry leaves out what stands in an entry before"));
    };
    Ok(Envelope {
        id,
        name: name.clone(),
        kind,
        source: source.clone(),
        correlation,
        causation,
        time_ms: *time_ms,
        headers,
        payload: reader.shared(length)?,
        repeat: has(bit::REPEAT),
        sequence: before.sequence,
        incarnation: *incarnation,
        request,
        retry,
    })
}

fn read_headers(reader: &mut Reader<'_>) -> Result<Headers, Error> {
    let count = reader.length()?;
    if count > MAX_HEADERS {
        return Err(malformed("it holds more headers than may travel"));
    }
    let pairs = (0..count).map(|_| Ok((reader.text()?.to_owned(), reader.text()?.to_owned())));
    Headers::arrived(pairs.collect::<Result<_, Error>>()?)
}

/// What the entries before had.
#[derive(Default)]
pub(super) struct Before {
    name: Option<Arc<str>>,
    source: Option<Arc<str>>,
    time_ms: Option<u64>,
    incarnation: Option<u64>,
    sequence: u64,
}

/// The sequence that need not be written.
fn next(sequence: u64) -> u64 {
    if sequence == 0 { 0 } else { sequence.wrapping_add(1) }
}

/// Mostly it is the very same text.
fn same_text(one: &Arc<str>, other: &Arc<str>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

fn id_bytes(id: MessageId) -> [u8; 16] {
    id.as_u128().to_be_bytes()
}
