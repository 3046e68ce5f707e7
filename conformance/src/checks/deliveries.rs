//! Nothing is lost, nothing is made up, and what comes twice has a reason.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use catga::{MessageId, Outcome, transport::Settlement};

use crate::{
    history::{Fault, HandlerSpec, History, Number, Parcel, Run, Violation, What, violated},
    messages::text_of,
};

/// Every acknowledged publish is handled or dead-lettered by every registered node or group.
pub fn property_1(history: &History) -> Result<(), Violation> {
    let (present, ended) = (present(history), ended(history));
    let mut registered: BTreeMap<&str, &[HandlerSpec]> = BTreeMap::new();
    let mut owed: BTreeMap<Number, Vec<(&str, &HandlerSpec)>> = BTreeMap::new();
    let at_rest = history.iter().rfind(|(_, entry)| matches!(entry.what, What::AtRest)).map_or(0, |(index, _)| index);
    for (_, entry) in history.iter().filter(|(index, _)| *index < at_rest) {
        match &entry.what {
            What::Joined { handlers, .. } => drop(registered.insert(&entry.node, handlers)),
            What::Shutdown { for_good: true, .. } => drop(registered.remove(&*entry.node)),
            What::Publishing { number, message, reliable: true, .. } => {
                let bound = registered.iter().flat_map(|(node, handlers)| handlers.iter().map(|one| (*node, one)));
                owed.insert(*number, bound.filter(|(_, handler)| handler.message == *message).collect());
            }
            What::Published { number, outcome: Ok(()) } => {
                for (node, handler) in owed.get(number).into_iter().flatten() {
                    let done = match handler.group {
                        Some(group) => {
                            let in_group = |other: &&HandlerSpec| other.group == Some(group);
                            let mut members = present.iter().flat_map(|node| registered.get(node)).copied().flatten();
                            members.find(in_group).is_none() || ended.contains(&(*number, handler.name, None))
                        }
                        None => !present.contains(node) || ended.contains(&(*number, handler.name, Some(node))),
                    };
                    if !done {
                        violated!("{number} was stored, but `{}` on {node} never ended it", handler.name);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The nodes that are there at the end.
fn present(history: &History) -> BTreeSet<&str> {
    let mut present = BTreeSet::new();
    for (_, entry) in history.iter() {
        match entry.what {
            What::Joined { .. } => drop(present.insert(&*entry.node)),
            What::Killed | What::Shutdown { .. } => drop(present.remove(&*entry.node)),
            _ => {}
        }
    }
    present
}

/// What each handler ended, by an effect or by a dead letter: on each node, and anywhere.
fn ended(history: &History) -> BTreeSet<(Number, &str, Option<&str>)> {
    let mut ended = BTreeSet::new();
    for (_, entry) in history.iter() {
        let (number, handler) = match &entry.what {
            What::Effect(run) => (Some(run.number), Some(&run.handler)),
            What::Buried(letter) => (letter.message.as_ref().and_then(|parcel| parcel.number), letter.handler.as_ref()),
            _ => continue,
        };
        if let (Some(number), Some(handler)) = (number, handler) {
            ended.extend([(number, handler.as_str(), None), (number, handler.as_str(), Some(&*entry.node))]);
        }
    }
    ended
}

/// Nothing is handled that was not published, payload and headers intact.
pub fn property_2(history: &History) -> Result<(), Violation> {
    let mut known: BTreeMap<Number, String> = BTreeMap::new();
    let mut asked = BTreeSet::new();
    let mut ran = BTreeSet::new();
    let mut ids: BTreeMap<MessageId, Number> = BTreeMap::new();
    let mut refused = BTreeSet::new();
    for (_, entry) in history.iter() {
        match &entry.what {
            What::Publishing { number, .. } => drop(known.insert(*number, number.to_string())),
            What::Published { number, outcome: Err(Outcome::NotStarted) } => drop(refused.insert(*number)),
            What::Asked { number, .. } => drop(asked.insert(*number)),
            What::Started(run) => {
                let Run { number, handler, .. } = run;
                match (run.emitted_by, known.get(number)) {
                    (Some(parent), _) if !ran.contains(&parent) => {
                        violated!("{parent:?} never ran, but emitted {number}")
                    }
                    (None, None) if !asked.contains(number) => {
                        violated!("`{handler}` was given {number}, which nobody sent")
                    }
                    (None, Some(header)) if run.header != *header => {
                        violated!("`{handler}` was given {number} with header {:?} instead of {header:?}", run.header)
                    }
                    _ => {}
                }
                if !asked.contains(number) && run.text != text_of(*number) {
                    violated!("`{handler}` was given {number} with another text: {:?}", run.text);
                }
                if *ids.entry(run.id).or_insert(*number) != *number {
                    violated!("`{handler}` was given {number} under the id of {}", ids[&run.id]);
                }
                if refused.contains(number) {
                    violated!("`{handler}` was given {number}, of which its publisher was told that it did not start");
                }
                ran.insert((*number, run.attempt));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What is known of a delivery.
struct Made<'a> {
    node: &'a str,
    messages: usize,
    open: bool,
    given_back: bool,
    last_sign: Duration,
    /// When its lease began, or was last renewed.
    leased: Duration,
}

/// Duplicates are at most the messages in flight at each fault plus those of expired leases.
pub fn property_3(history: &History) -> Result<(), Violation> {
    let largest = history.iter().map(|(_, entry)| match &entry.what {
        What::Received { messages, .. } => *messages,
        _ => 1,
    });
    let largest = largest.max().unwrap_or(1);
    let late = history.pace().late;
    // Faults whose moment is not exactly known: on which node, if not on all, and until when.
    let mut striking: Vec<(Option<&str>, Duration)> = Vec::new();
    let mut made: BTreeMap<(&str, u64), Made<'_>> = BTreeMap::new();
    let (mut duplicates, mut excused) = (0, 0);
    for (_, entry) in history.iter() {
        match &entry.what {
            What::Killed | What::Fault(Fault::Cut | Fault::Disconnect | Fault::Restart) => {
                // A store that ends is cut off from every node; and a sign that was given just now may not have arrived.
                let node = (!matches!(entry.what, What::Fault(Fault::Restart))).then_some(&*entry.node);
                let struck = made.values().filter(|delivery| node.is_none_or(|node| node == delivery.node));
                let open = struck.filter(|delivery| delivery.open || delivery.last_sign + late > entry.at);
                excused += open.map(|delivery| delivery.messages).sum::<usize>();
                striking.push((node, entry.at + late));
            }
            // Until it is heard again, and the last leases that it could not renew have ended, nobody knows what arrived.
            What::Fault(Fault::Silence) => striking.push((None, Duration::MAX)),
            What::Fault(Fault::Heal) => {
                let wait = made.values().filter_map(|delivery| Some(history.node(delivery.node)?.1.ack_wait)).max();
                let until = entry.at + 2 * wait.unwrap_or_default() + late;
                striking.iter_mut().for_each(|(_, end)| *end = until.min(*end));
            }
            What::Fault(
                Fault::LoseAcknowledgements(count) | Fault::LoseDeliveries(count) | Fault::DoubleDeliveries(count),
            ) => excused += count * largest,
            What::Settled { durable, sequence, settlement } => {
                let Some(delivery) = made.get_mut(&(durable.as_str(), *sequence)) else { continue };
                delivery.last_sign = entry.at;
                if *settlement == Settlement::Progress {
                    delivery.leased = entry.at;
                } else {
                    delivery.open = false;
                }
                delivery.given_back = matches!(settlement, Settlement::GiveBack(_) | Settlement::Untouched);
            }
            What::Received { durable, sequence, messages, .. } => {
                let (node, messages) = (&*entry.node, *messages);
                if let Some(before) = made.get(&(durable.as_str(), *sequence))
                    && !before.given_back
                {
                    duplicates += messages;
                    let wait = history.node(before.node).map(|(_, limits)| limits.ack_wait).unwrap_or_default();
                    // A sign that was given may be late; but a lease that has just begun has not ended.
                    let late = late.min(wait / 2);
                    let unsigned = before.open || entry.at <= before.last_sign + late;
                    if unsigned && entry.at + late >= before.leased + wait {
                        excused += messages;
                    }
                }
                // It may have come just before the fault was there.
                if striking.iter().any(|(on, until)| on.is_none_or(|on| on == node) && entry.at < *until) {
                    excused += messages;
                }
                let delivery =
                    Made { node, messages, open: true, given_back: false, last_sign: entry.at, leased: entry.at };
                made.insert((durable, *sequence), delivery);
            }
            _ => {}
        }
        if duplicates > excused {
            violated!("{duplicates} messages were delivered again, but no more than {excused} have a reason");
        }
    }
    stored_once(history)
}

/// No message is in the store more often than nodes put it there.
fn stored_once(history: &History) -> Result<(), Violation> {
    // What is stored for every durable has no durable of its own.
    let key = |durable: Option<&str>, parcel: &Parcel| {
        (durable.map(str::to_owned), parcel.id, parcel.retry.clone(), parcel.replays)
    };
    let mut stored: BTreeMap<_, usize> = BTreeMap::new();
    let mut places: BTreeMap<_, BTreeSet<u64>> = BTreeMap::new();
    for (_, entry) in history.iter() {
        match &entry.what {
            What::Stored { parcel } => *stored.entry(key(None, parcel)).or_default() += 1,
            What::StoredFor { durable, parcel } => *stored.entry(key(Some(durable), parcel)).or_default() += 1,
            What::Received { durable, sequence, parcels, .. } => {
                for parcel in parcels {
                    let places = places.entry(key(Some(durable), parcel)).or_default();
                    places.insert(*sequence);
                    let (for_all, for_one) = (key(None, parcel), key(Some(durable), parcel));
                    let times = |key| stored.get(&key).copied().unwrap_or(0);
                    let stored = (times(for_all) + times(for_one)).max(1);
                    if places.len() > stored {
                        violated!("{} was stored {stored} times, but is in {} deliveries", parcel.id, places.len());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}
