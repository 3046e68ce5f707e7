//! When a run takes effect, how often, and what may happen only after it.

use std::collections::{BTreeMap, BTreeSet};

use catga::transport::Settlement;

use crate::history::{HandlerSpec, History, Letter, Number, Parcel, Violation, What, violated};

/// Without a kill a handler takes effect once per message within the window.
pub fn property_4a(history: &History) -> Result<(), Violation> {
    let killed: BTreeSet<&str> = history.kills().map(|(_, entry)| &*entry.node).collect();
    // A query may be answered twice.
    let queries: BTreeSet<Number> = history
        .0
        .iter()
        .filter_map(|entry| match entry.what {
            What::Asked { number, command: false, .. } => Some(number),
            _ => None,
        })
        .collect();
    let mut seen: BTreeSet<(&str, &str, Number)> = BTreeSet::new();
    for (_, entry) in history.iter() {
        let node = &*entry.node;
        match &entry.what {
            // The window ends with the node: what it knew of its past is gone.
            What::Joined { .. } => seen.retain(|(on, ..)| *on != node),
            What::Effect(run) if !killed.contains(node) && !queries.contains(&run.number) => {
                // What a handler emitted and the store did not take makes the run a failure, after its effect.
                let failed = run.emits && history.crashed();
                if !seen.insert((node, &run.handler, run.number)) && !failed {
                    violated!("`{}` took effect twice for {} on {node}", run.handler, run.number);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// A kill between effect and mark adds at most one run.
pub fn property_4b(history: &History) -> Result<(), Violation> {
    if history.0.iter().any(|entry| matches!(entry.what, What::Fault(_))) {
        // Lost signs add runs of their own, which nothing tells from those of the kill.
        return Ok(());
    }
    for (killed_at, kill) in history.kills() {
        let next = history.kills().map(|(index, _)| index).find(|index| *index > killed_at).unwrap_or(usize::MAX);
        let before: BTreeSet<_> = history
            .effects()
            .filter(|(index, entry, _)| *index < killed_at && entry.node == kill.node)
            .map(|(_, _, run)| (&run.handler, run.number))
            .collect();
        let mut after: BTreeMap<_, usize> = BTreeMap::new();
        for (_, entry, run) in history.effects().filter(|(index, ..)| (killed_at..next).contains(index)) {
            let shared = history.handler(&run.handler).is_some_and(|handler| handler.group.is_some());
            let runs = after.entry((&run.handler, run.number)).or_default();
            if before.contains(&(&run.handler, run.number)) && (shared || entry.node == kill.node) {
                *runs += 1;
            }
            if *runs > 1 {
                violated!(
                    "`{}` took effect {runs} times for {} after the kill of {}",
                    run.handler,
                    run.number,
                    kill.node
                );
            }
        }
    }
    Ok(())
}

/// No acknowledgement precedes the effect, or what stands in for it: the message stored again, or its dead letter.
pub fn property_5(history: &History) -> Result<(), Violation> {
    let mut delivered: BTreeMap<(&str, u64), (bool, &[Parcel])> = BTreeMap::new();
    // What was done with each message, by handler; on which node matters for what is not shared.
    let mut done: BTreeSet<(Number, &str, Option<&str>)> = BTreeSet::new();
    for (_, entry) in history.iter() {
        let node = &*entry.node;
        let mut note = |number: Option<Number>, handler: Option<&'_ str>| {
            if let (Some(number), Some(handler)) = (number, handler.and_then(|name| history.handler(name))) {
                done.insert((number, handler.name, handler.group.is_none().then_some(node)));
            }
        };
        match &entry.what {
            What::Effect(run) => note(Some(run.number), Some(&run.handler)),
            What::StoredFor { parcel, .. } => {
                note(parcel.number, parcel.retry.as_ref().map(|(handler, _)| handler.as_str()));
            }
            What::Buried(Letter { handler, message: Some(message), .. }) => note(message.number, handler.as_deref()),
            What::Delivered { durable, shared, sequence, parcels, .. } => {
                delivered.insert((durable, *sequence), (*shared, parcels));
            }
            What::Settled { durable, sequence, settlement: Settlement::Acknowledge } => {
                let Some((shared, parcels)) = delivered.get(&(durable.as_str(), *sequence)) else { continue };
                let Some((handlers, _)) = history.node(node) else { continue };
                for parcel in *parcels {
                    let on = (!shared).then_some(node);
                    let mut owed = handlers.iter().filter(|handler| owes(handler, parcel, *shared));
                    if let Some((number, handler)) = parcel.number.and_then(|number| {
                        owed.find(|one| !done.contains(&(number, one.name, on))).map(|one| (number, one))
                    }) {
                        violated!("{number} was acknowledged on {node} before `{}` had done anything", handler.name);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a handler has something to do with a message that was delivered.
fn owes(handler: &HandlerSpec, parcel: &Parcel, shared: bool) -> bool {
    handler.message == parcel.message
        && handler.group.is_some() == shared
        && parcel.retry.as_ref().is_none_or(|(name, _)| name == handler.name)
}
