//! Versions that misread each other, conversations that break off, and what leaves too early or not at all.

use super::*;
use crate::{
    messages::{HEAR, echo_number},
    versions::{PARCEL, READ_NEW, READ_OLD},
};

#[test]
fn property_16_refuses_a_note_that_is_lost_or_made_up() {
    let note = Some("note".to_owned());
    let sent = |note| {
        let what = What::Publishing { number: 1, message: PARCEL, reliable: true, healthy: true, note };
        Hand::default().joined("node1", &[&READ_NEW.spec]).add("node1", what)
    };
    let read = |role: &crate::messages::Role, note| Run { note, ..run(&role.spec, 1, 1) };
    sent(note.clone()).effect("node1", read(&READ_NEW, None)).breaks(Property::P16);
    sent(None).effect("node1", read(&READ_NEW, note.clone())).breaks(Property::P16);
    let buried = What::Buried(letter(&READ_OLD.spec, 1, 4, "node1"));
    sent(note.clone()).add("node1", buried).breaks(Property::P16);
    Property::P16.check(&sent(note.clone()).effect("node1", read(&READ_NEW, note)).history).unwrap();
}

#[test]
fn property_17_refuses_a_conversation_that_changes_from_run_to_run_or_in_a_dead_letter() {
    let other = MessageId::from_u128(99);
    let first = || Hand::default().joined("node1", &[&NOTE.spec]).failed("node1", run(&NOTE.spec, 1, 1));
    first().effect("node1", Run { correlation: other, ..run(&NOTE.spec, 1, 2) }).breaks(Property::P17);
    let whole = letter(&NOTE.spec, 1, 4, "node1");
    let dead = Letter { message: Some(Parcel { correlation: other, ..parcel(1) }), ..whole };
    first().add("node1", What::Buried(dead)).breaks(Property::P17);
}

/// What a run of message 1 emitted.
fn echo(attempt: u32) -> Run {
    let parent = Some(MessageId::from_u128(1));
    let heard = run(&HEAR.spec, echo_number(NOTE.spec.name, "node1", 1, attempt), 1);
    Run {
        emitted_by: Some((1, attempt)),
        correlation: MessageId::from_u128(1),
        causation: parent,
        trace: trace_of(1),
        ..heard
    }
}

#[test]
fn property_17_refuses_an_emission_outside_of_its_conversation() {
    let parent = || Hand::default().joined("node1", &[&NOTE.spec]).effect("node1", run(&NOTE.spec, 1, 1));
    Property::P17.check(&parent().effect("node1", echo(1)).history).unwrap();
    parent().effect("node1", Run { causation: None, ..echo(1) }).breaks(Property::P17);
    parent().effect("node1", Run { correlation: echo(1).id, ..echo(1) }).breaks(Property::P17);
}

#[test]
fn property_17_refuses_a_trace_that_is_lost_anywhere() {
    let published = || Hand::default().joined("node1", &[&NOTE.spec]).published(1);
    let (lost, handled) = (Trace::default(), || published().effect("node1", run(&NOTE.spec, 1, 1)));
    let other = || Parcel { trace: Trace { state: String::new(), ..trace_of(1) }, ..parcel(1) };
    published().effect("node1", Run { trace: lost.clone(), ..run(&NOTE.spec, 1, 1) }).breaks(Property::P17);
    published().failed("node1", run(&NOTE.spec, 1, 1)).add("node1", stored_again(other())).breaks(Property::P17);
    let dead = Letter { message: Some(other()), ..letter(&NOTE.spec, 1, 4, "node1") };
    published().failed("node1", run(&NOTE.spec, 1, 1)).add("node1", What::Buried(dead)).breaks(Property::P17);
    handled().effect("node1", Run { trace: lost, ..echo(1) }).breaks(Property::P17);
    // What is emitted does not begin a trace of its own.
    handled().effect("node1", Run { trace: trace_of(echo(1).number), ..echo(1) }).breaks(Property::P17);
    Property::P17.check(&handled().effect("node1", echo(1)).add("node1", stored_again(parcel(1))).history).unwrap();
}

fn stored_again(parcel: Parcel) -> What {
    What::StoredFor { durable: "n.node1".into(), parcel }
}

#[test]
fn property_18_refuses_what_a_failed_run_emitted_and_misses_what_a_successful_one_did() {
    let emits = || Run { emits: true, ..run(&NOTE.spec, 1, 1) };
    let left = || {
        let number = Some(echo_number(NOTE.spec.name, "node1", 1, 1));
        What::Stored { parcel: Parcel { message: HEAR.spec.message.to_owned(), number, ..parcel(0) } }
    };
    let begin = || Hand::default().joined("node1", &[&NOTE.spec]);
    begin().failed("node1", emits()).add("node1", left()).breaks(Property::P18);
    begin().failed("node1", emits()).effect("node1", echo(1)).breaks(Property::P18);
    begin().effect("node1", emits()).breaks(Property::P18);
    Property::P18.check(&begin().effect("node1", emits()).add("node1", left()).history).unwrap();
}
