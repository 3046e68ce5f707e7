//! What the headers of a message say: the binary mode of CloudEvents, and what a sender of any program added.
//!
//! The client tells names apart by case and keeps them in no order. Here case decides nothing, and the first of two names
//! in their order wins.

use std::borrow::Cow;

use async_nats::HeaderMap;
use percent_encoding::percent_decode_str;

use super::cloud_event::{CloudEvent, refused};
use crate::{
    envelope::{Headers, MAX_HEADERS},
    error::Error,
};

/// The header that says what a message holds, in lower case.
const CONTENT_TYPE: &str = "content-type";

/// The attributes that the headers hold; `None` if they say of no CloudEvent.
///
/// # Errors
///
/// `Codec` for attributes that cannot be read.
pub(super) fn cloud_event(headers: &HeaderMap) -> Result<Option<CloudEvent<'static>>, Error> {
    let mut event = CloudEvent::default();
    let mut content_type = None;
    for (name, value) in sorted(headers) {
        let name = name.to_ascii_lowercase();
        let Some(attribute) = name.strip_prefix("ce-") else {
            content_type = content_type.or((name == CONTENT_TYPE).then(|| Cow::Owned(value.to_owned())));
            continue;
        };
        let field = match attribute {
            "specversion" => &mut event.specversion,
            "id" => &mut event.id,
            "source" => &mut event.source,
            "type" => &mut event.r#type,
            "time" => &mut event.time,
            "datacontenttype" => &mut event.datacontenttype,
            "correlationid" => &mut event.correlationid,
            "causationid" => &mut event.causationid,
            "traceparent" => &mut event.traceparent,
            "tracestate" => &mut event.tracestate,
            _ => continue,
        };
        let value = unescaped(value)?;
        field.get_or_insert_with(|| value.into());
    }
    if event.specversion.is_none() {
        return Ok(None);
    }
    event.datacontenttype = event.datacontenttype.or(content_type);
    event.check().map(Some)
}

/// Whether the headers say that the payload is a CloudEvent in the structured mode.
pub(super) fn declare_structured(headers: &HeaderMap) -> Result<bool, Error> {
    let Some((_, value)) = sorted(headers).into_iter().find(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE)) else {
        return Ok(false);
    };
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "application/cloudevents" | "application/cloudevents+json" => Ok(true),
        other if other.starts_with("application/cloudevents") => {
            Err(refused(format!("{other:?} cannot be read: of CloudEvents only single ones in JSON can")))
        }
        _ => Ok(false),
    }
}

/// Takes over what a sender added, as far as it can travel: not what belongs to the server or to the form.
pub(super) fn add(to: &mut Headers, from: &HeaderMap) {
    let belongs_to_the_form = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.starts_with("nats-") || name.starts_with("ce-") || name == CONTENT_TYPE
    };
    // No more are looked at than could be taken, however many there are.
    for (name, value) in sorted(from).into_iter().filter(|(name, _)| !belongs_to_the_form(name)).take(MAX_HEADERS) {
        // What cannot travel is left out: the message itself is as good without it.
        drop(to.insert(name, value));
    }
}

/// The headers that a message has, one value of each, in the order of their names: the map has an order of its own.
fn sorted(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let mut sorted: Vec<(&str, &str)> = Vec::with_capacity(headers.len());
    for (name, values) in headers.iter() {
        sorted.extend(values.first().map(|value| (name.as_ref(), value.as_str())));
    }
    sorted.sort_unstable();
    sorted
}

/// The value of an attribute in a header: quoted, in older versions of the binding, and percent-encoded.
fn unescaped(value: &str) -> Result<String, Error> {
    let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let mut unquoted = String::new();
    if let Some(quoted) = quoted {
        let mut characters = quoted.chars();
        while let Some(character) = characters.next() {
            unquoted.extend(if character == '\\' { characters.next() } else { Some(character) });
        }
    }
    let text = if quoted.is_some() { &unquoted } else { value };
    percent_decode_str(text).decode_utf8().map(Cow::into_owned).map_err(|error| {
        refused(format!("an attribute of a CloudEvent is not UTF-8 where it is percent-encoded: {error}"))
            .with_source(error)
    })
}
