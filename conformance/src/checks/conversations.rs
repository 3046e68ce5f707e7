//! What belongs together stays together: versions of a type, a conversation, a handler and what it emits.

use std::collections::{BTreeMap, BTreeSet};

use catga::MessageId;

use crate::{
    history::{History, Letter, Number, Run, Trace, Violation, What, violated},
    messages::{echo_number, trace_of},
    versions::{PARCEL, READS_NOTES},
};

/// Two versions of a message type read each other.
pub fn property_16(history: &History) -> Result<(), Violation> {
    let mut notes: BTreeMap<Number, &Option<String>> = BTreeMap::new();
    for (_, entry) in history.iter() {
        match &entry.what {
            What::Publishing { number, message, note, .. } if *message == PARCEL => drop(notes.insert(*number, note)),
            What::Effect(run) => {
                let Some(note) = notes.get(&run.number) else { continue };
                let expected = if run.handler == READS_NOTES { (*note).clone() } else { None };
                if run.note != expected {
                    violated!("`{}` read the note {:?} instead of {expected:?}", run.handler, run.note);
                }
            }
            What::Buried(letter) => {
                let number = letter.message.as_ref().and_then(|message| message.number);
                if number.is_some_and(|number| notes.contains_key(&number)) {
                    violated!("{:?} could not read {number:?}", letter.handler);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Correlation and trace are unbroken through emission, retry, dead letter and replay.
pub fn property_17(history: &History) -> Result<(), Violation> {
    traces(history)?;
    let mut known: BTreeMap<Number, (MessageId, MessageId, Option<MessageId>)> = BTreeMap::new();
    for (_, entry) in history.iter() {
        match &entry.what {
            What::Started(run) => {
                let conversation = (run.id, run.correlation, run.causation);
                let before = *known.entry(run.number).or_insert(conversation);
                if before != conversation {
                    violated!("attempt {} of {} is another conversation", run.attempt, run.number);
                }
                let Some((parent, _)) = run.emitted_by else { continue };
                let Some((id, correlation, _)) = known.get(&parent) else { continue };
                if (run.correlation, run.causation) != (*correlation, Some(*id)) {
                    violated!("what {parent} emitted does not belong to its conversation");
                }
            }
            What::Buried(Letter { message: Some(parcel), .. }) | What::StoredFor { parcel, .. } => {
                let Some((id, correlation, _)) = parcel.number.and_then(|number| known.get(&number)) else { continue };
                if (parcel.id, parcel.correlation) != (*id, *correlation) {
                    violated!("{:?} was put away as another conversation", parcel.number);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Every message belongs to the trace that its sender gave it, and what a handler emits to that of its message.
fn traces(history: &History) -> Result<(), Violation> {
    let mut known: BTreeMap<Number, Trace> = BTreeMap::new();
    for (_, entry) in history.iter() {
        let (number, trace) = match &entry.what {
            What::Publishing { number, .. } | What::Asked { number, .. } => {
                known.insert(*number, trace_of(*number));
                continue;
            }
            What::Started(run) => {
                if let Some(trace) = run.emitted_by.and_then(|(parent, _)| known.get(&parent)) {
                    known.insert(run.number, trace.clone());
                }
                (Some(run.number), &run.trace)
            }
            What::Stored { parcel } | What::StoredFor { parcel, .. } => (parcel.number, &parcel.trace),
            What::Buried(Letter { message: Some(parcel), .. }) => (parcel.number, &parcel.trace),
            _ => continue,
        };
        if let Some(expected) = number.and_then(|number| known.get(&number)).filter(|expected| *expected != trace) {
            violated!("{number:?} is in another trace: {trace:?} instead of {expected:?}");
        }
    }
    Ok(())
}

/// The number of what a run on a node emits.
fn echo_of(run: &Run, node: &str) -> Number {
    echo_number(&run.handler, node, run.number, run.attempt)
}

/// What a failed handler emitted never leaves, what a successful one emitted does.
pub fn property_18(history: &History) -> Result<(), Violation> {
    let mut stored: BTreeSet<Number> = BTreeSet::new();
    let mut may_leave: BTreeSet<Number> = BTreeSet::new();
    for (_, entry) in history.iter() {
        match &entry.what {
            What::Effect(run) if run.emits => drop(may_leave.insert(echo_of(run, &entry.node))),
            What::Started(run) if run.emitted_by.is_some() && !may_leave.contains(&run.number) => {
                violated!("{:?} failed, but what it emitted was handled", run.emitted_by);
            }
            What::Stored { parcel } => {
                let Some(number) = parcel.number.filter(|_| parcel.message == "conformance.echo") else { continue };
                stored.insert(number);
                if !may_leave.contains(&number) {
                    violated!("{number} left before the handler that emitted it had succeeded");
                }
            }
            _ => {}
        }
    }
    let killed: BTreeSet<&str> = history.kills().map(|(_, entry)| &*entry.node).collect();
    for (_, entry, run) in history.effects() {
        let lost = run.emits && !stored.contains(&echo_of(run, &entry.node));
        if lost && !killed.contains(&*entry.node) && !history.disturbed() {
            violated!("{} succeeded at attempt {}, but what it emitted never left", run.number, run.attempt);
        }
    }
    Ok(())
}
