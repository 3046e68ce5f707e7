//! What the two sides of a NATS connection say, in pieces: lines, and messages with their payload.

use std::io;

use bytes::{Bytes, BytesMut};

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it goes to. Of a message that a consumer delivers it is the one that it was stored under.
    pub subject: String,
    /// Where its answer goes to; of a delivery, its acknowledgement: `$JS.ACK.<stream>.<consumer>.` and so on.
    pub reply: Option<String>,
    /// `NATS/1.0` and what follows, up to the empty line; empty without headers.
    pub headers: Bytes,
    /// What it carries.
    pub payload: Bytes,
}

/// One piece, as it was sent.
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    /// None if it is a line, such as `PING`.
    pub(super) message: Option<Message>,
}

/// Takes the next piece from what was read; none if it is not there to its end.
pub(super) fn next_frame(buffer: &mut BytesMut) -> io::Result<Option<Frame>> {
    let Some(end) = buffer.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let line = std::str::from_utf8(&buffer[..end]).map_err(io::Error::other)?;
    let words: Vec<_> = line.split_ascii_whitespace().collect();
    let Some(message) = head(&words) else {
        return Ok(Some(Frame { bytes: buffer.split_to(end + 2).freeze(), message: None }));
    };
    let Head { subject, reply, headers, total } =
        message.ok_or_else(|| io::Error::other(format!("`{line}` is not the protocol")))?;
    let (subject, reply) = (subject.to_owned(), reply.map(str::to_owned));
    let start = end + 2;
    if buffer.len() < start + total + 2 {
        return Ok(None);
    }
    let bytes = buffer.split_to(start + total + 2).freeze();
    let (headers, payload) = (bytes.slice(start..start + headers), bytes.slice(start + headers..start + total));
    Ok(Some(Frame { bytes, message: Some(Message { subject, reply, headers, payload }) }))
}

/// The first line of a message.
struct Head<'a> {
    subject: &'a str,
    reply: Option<&'a str>,
    /// The bytes of the headers, which are among the total.
    headers: usize,
    total: usize,
}

/// None if the line begins no message; none inside if it should and does not.
fn head<'a>(words: &[&'a str]) -> Option<Option<Head<'a>>> {
    let verb = words.first()?.to_ascii_uppercase();
    let (subject, rest) = match (verb.as_str(), &words[1..]) {
        ("PUB" | "HPUB", [subject, rest @ ..]) => (subject, rest),
        // The word between is the number of the subscription.
        ("MSG" | "HMSG", [subject, _, rest @ ..]) => (subject, rest),
        ("PUB" | "HPUB" | "MSG" | "HMSG", _) => return Some(None),
        _ => return None,
    };
    let (reply, headers, total) = match (verb.starts_with('H'), rest) {
        (false, [total]) => (None, "0", total),
        (false, [reply, total]) => (Some(*reply), "0", total),
        (true, [headers, total]) => (None, *headers, total),
        (true, [reply, headers, total]) => (Some(*reply), *headers, total),
        _ => return Some(None),
    };
    let (Ok(headers), Ok(total)) = (headers.parse(), total.parse()) else { return Some(None) };
    Some((headers <= total).then_some(Head { subject, reply, headers, total }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Subject, reply, headers, payload.
    type Parts = (&'static str, Option<&'static str>, &'static str, &'static str);

    /// What there is of each kind, and what it means.
    const SAID: [(&str, Option<Parts>); 9] = [
        ("INFO {\"server_name\":\"a\"}\r\n", None),
        ("PING\r\n", None),
        ("+OK\r\n", None),
        ("SUB a 1\r\n", None),
        ("PUB a 0\r\n\r\n", Some(("a", None, "", ""))),
        ("pub a.b _INBOX.1 9\r\nMSG\r\nPING\r\n", Some(("a.b", Some("_INBOX.1"), "", "MSG\r\nPING"))),
        ("HPUB a 12 15\r\nNATS/1.0\r\n\r\ntea\r\n", Some(("a", None, "NATS/1.0\r\n\r\n", "tea"))),
        ("MSG a 7 $JS.ACK.S.c 3\r\ntea\r\n", Some(("a", Some("$JS.ACK.S.c"), "", "tea"))),
        ("HMSG a 7 r 12 12\r\nNATS/1.0\r\n\r\n\r\n", Some(("a", Some("r"), "NATS/1.0\r\n\r\n", ""))),
    ];

    #[test]
    fn every_piece_is_taken_whole_however_it_arrives() {
        let all: String = SAID.iter().map(|(text, _)| *text).collect();
        for step in [1, 2, 3, 7, all.len()] {
            let mut buffer = BytesMut::new();
            let mut found = Vec::new();
            for part in all.as_bytes().chunks(step) {
                buffer.extend_from_slice(part);
                while let Some(frame) = next_frame(&mut buffer).unwrap() {
                    found.push(frame);
                }
            }
            assert_eq!((buffer.len(), found.len()), (0, SAID.len()));
            for (frame, (text, message)) in found.into_iter().zip(SAID) {
                assert_eq!(frame.bytes, text);
                let message = message.map(|(subject, reply, headers, payload)| Message {
                    subject: subject.to_owned(),
                    reply: reply.map(str::to_owned),
                    headers: headers.into(),
                    payload: payload.into(),
                });
                assert_eq!(frame.message, message);
            }
        }
    }

    #[test]
    fn what_is_not_the_protocol_is_an_error() {
        for text in ["PUB a\r\n", "PUB a b c 1\r\n", "PUB a many\r\n", "HPUB a 3 2\r\n\r\n", "MSG a 1\r\n", "HMSG\r\n"]
        {
            assert!(next_frame(&mut BytesMut::from(text)).is_err(), "{text}");
        }
    }
}
