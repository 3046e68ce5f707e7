//! Transports that deliver something else than what was sent.

use std::sync::Arc;

use catga::{
    Headers, MessageId,
    transport::{DeadContent, DeadLetter, Envelope, Transport},
};

use super::rejects;
use crate::{
    bench::hooked::{Hooked, Hooks},
    checks::Property,
    messages::HEADER,
};

/// Gives messages that travel together the payloads of each other.
struct SwapsPayloads;

impl Hooks for SwapsPayloads {
    fn storing(&self, _: &str, batch: &mut Vec<Envelope>) {
        if let [first, second, ..] = &mut batch[..] {
            std::mem::swap(&mut first.payload, &mut second.payload);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_swaps_payloads_is_rejected_for_what_nobody_sent_and_for_their_traces() {
    let breakage = |transport: Arc<dyn Transport>| Hooked::around(transport, SwapsPayloads);
    rejects(breakage, &[Property::P2, Property::P17]).await;
}

/// Loses the headers.
struct StripsHeaders;

impl Hooks for StripsHeaders {
    fn storing(&self, _: &str, batch: &mut Vec<Envelope>) {
        for envelope in batch {
            envelope.headers = Headers::new();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_strips_headers_is_rejected_for_what_is_not_intact_and_for_lost_traces() {
    let breakage = |transport: Arc<dyn Transport>| Hooked::around(transport, StripsHeaders);
    rejects(breakage, &[Property::P2, Property::P17]).await;
}

/// Loses the headers of what is given up.
struct MutilatesDeadLetters;

impl Hooks for MutilatesDeadLetters {
    fn burying(&self, _: &str, letter: &mut DeadLetter) {
        if let DeadContent::Message(envelope) = &mut letter.content {
            envelope.headers = Headers::new();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_mutilates_dead_letters_is_rejected_for_them_and_for_their_traces() {
    let breakage = |transport: Arc<dyn Transport>| Hooked::around(transport, MutilatesDeadLetters);
    rejects(breakage, &[Property::P7, Property::P17]).await;
}

/// Takes what is tried again for the start of a conversation.
struct BreaksConversations;

impl Hooks for BreaksConversations {
    fn storing_for(&self, _: &str, _: &str, message: &mut Envelope, _: &mut std::time::Duration) {
        message.correlation = MessageId::new();
    }
}

/// A dead letter of another conversation is not complete either.
#[tokio::test(start_paused = true)]
async fn a_transport_that_breaks_conversations_is_rejected_for_that_and_for_its_dead_letters() {
    let breakage = |transport: Arc<dyn Transport>| Hooked::around(transport, BreaksConversations);
    rejects(breakage, &[Property::P7, Property::P17]).await;
}

/// Loses the trace of what is tried again; its other headers stay.
struct LosesTraces;

impl Hooks for LosesTraces {
    fn storing_for(&self, _: &str, _: &str, message: &mut Envelope, _: &mut std::time::Duration) {
        let mut headers = Headers::new();
        if let Some(value) = message.headers.get(HEADER) {
            headers.insert(HEADER, value).unwrap();
        }
        message.headers = headers;
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_loses_traces_is_rejected_for_them() {
    let breakage = |transport: Arc<dyn Transport>| Hooked::around(transport, LosesTraces);
    rejects(breakage, &[Property::P17]).await;
}
