//! How a node goes, whom an event reaches, and what one bad message does to the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use catga::transport::Settlement;

use crate::history::{History, Number, Violation, What, violated};

/// How exact timers are.
const GRAIN: Duration = Duration::from_millis(50);
/// How soon a healthy message is handled that nothing stands in the way of.
const PROMPT: Duration = Duration::from_secs(1);

/// Shutdown loses no acknowledgement and gives back what was not started, within its limit.
pub fn property_9(history: &History) -> Result<(), Violation> {
    let faults = history.0.iter().any(|entry| matches!(entry.what, What::Fault(_)));
    let mut open: BTreeMap<(&str, &str, u64), usize> = BTreeMap::new();
    for (at, entry) in history.iter() {
        let node = &*entry.node;
        match &entry.what {
            What::Delivered { durable, sequence, parcels, .. } => {
                open.insert((node, durable, *sequence), parcels.len());
            }
            What::Settled { durable, sequence, settlement } if *settlement != Settlement::Progress => {
                open.remove(&(node, durable, *sequence));
            }
            What::Killed => open.retain(|(on, ..), _| *on != node),
            What::Shutdown { took, failed, .. } => {
                let limit = history.node(node).map(|(_, limits)| limits.shutdown).unwrap_or_default();
                if *took > limit + GRAIN + history.pace().late {
                    violated!("{node} took {took:?} to shut down, with a limit of {limit:?}");
                }
                if let Some(((_, durable, sequence), _)) = open.iter().find(|((on, ..), _)| *on == node) {
                    violated!("{node} left without a word on delivery {sequence} of `{durable}`");
                }
                // What was cut off at the limit may have taken effect, and runs again; so does what lost its sign.
                if failed.is_none() && !faults {
                    done_is_not_done_again(history, at, node)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// What took effect on a node that then shut down does not run again.
fn done_is_not_done_again(history: &History, at: usize, node: &str) -> Result<(), Violation> {
    let done: BTreeSet<_> = history
        .effects()
        .filter(|(index, entry, _)| *index < at && *entry.node == *node)
        .map(|(.., run)| (&run.handler, run.number))
        .collect();
    for (_, entry, run) in history.starts().filter(|(index, ..)| *index > at) {
        let shared = history.handler(&run.handler).is_some_and(|handler| handler.group.is_some());
        if (shared || *entry.node == *node) && done.contains(&(&run.handler, run.number)) {
            violated!("{node} had finished {}, and {} ran it again", run.number, entry.node);
        }
    }
    Ok(())
}

/// Fan-out reaches exactly the registered nodes; a group's members share the set without overlap but for duplicates.
pub fn property_10(history: &History) -> Result<(), Violation> {
    let faults = history.0.iter().any(|entry| matches!(entry.what, What::Fault(_)));
    let mut registered: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut reach: BTreeMap<Number, BTreeSet<(&str, &str)>> = BTreeMap::new();
    let mut shared: BTreeMap<(&str, Number), &str> = BTreeMap::new();
    let mut ended: BTreeSet<&str> = BTreeSet::new();
    for (_, entry) in history.iter() {
        let node = &*entry.node;
        match &entry.what {
            What::Joined { handlers, .. } => {
                registered.insert(node, handlers.iter().map(|handler| handler.name).collect());
            }
            What::Shutdown { for_good: true, .. } => drop((registered.remove(node), ended.insert(node))),
            What::Killed | What::Shutdown { .. } => drop(ended.insert(node)),
            What::Publishing { number, .. } => {
                let known = registered.iter().flat_map(|(node, handlers)| handlers.iter().map(|one| (*node, *one)));
                reach.insert(*number, known.collect());
            }
            What::Effect(run) => {
                let Some(handler) = history.handler(&run.handler) else { continue };
                if reach.get(&run.number).is_some_and(|reach| !reach.contains(&(node, handler.name))) {
                    violated!("{} reached {node}, which was not registered when it was published", run.number);
                }
                if handler.group.is_some()
                    && let Some(other) = shared.insert((handler.name, run.number), node)
                    && other != node
                    && !faults
                    && !ended.contains(other)
                {
                    violated!("{} was handled by two members of a group: {other} and {node}", run.number);
                }
            }
            _ => {}
        }
    }
    unreliable_reaches_all(history, &reach)
}

/// An event of QoS 0 is handled once by each node that was there, where nothing was lost and nobody counted a drop.
fn unreliable_reaches_all(
    history: &History,
    reach: &BTreeMap<Number, BTreeSet<(&str, &str)>>,
) -> Result<(), Violation> {
    let dropped = history.0.iter().any(|entry| matches!(entry.what, What::Counted { dropped, .. } if dropped > 0));
    for (_, entry) in history.iter() {
        let What::Publishing { number, message, reliable: false, .. } = entry.what else { continue };
        for (node, handler) in reach.get(&number).into_iter().flatten() {
            let runs = history.starts().filter(|(_, entry, run)| {
                run.number == number && run.attempt == 1 && *entry.node == **node && run.handler == *handler
            });
            let wanted = history.handler(handler).is_some_and(|handler| handler.message == message);
            let runs = runs.count();
            if wanted && (runs > 1 || (runs == 0 && !dropped && !history.disturbed())) {
                violated!("{number} ran {runs} times on {node}");
            }
        }
    }
    Ok(())
}

/// Memory stays bounded with a handler that never returns.
pub fn property_14(history: &History) -> Result<(), Violation> {
    let mut open: BTreeMap<(&str, &str), BTreeMap<u64, usize>> = BTreeMap::new();
    let mut running: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (_, entry) in history.iter() {
        let node = &*entry.node;
        let Some((_, limits)) = history.node(node) else { continue };
        match &entry.what {
            What::Received { durable, sequence, messages, .. } => {
                let open = open.entry((node, durable)).or_default();
                open.insert(*sequence, *messages);
                let held: usize = open.values().sum();
                if held > limits.in_flight {
                    violated!("{node} holds {held} messages of `{durable}`, more than {}", limits.in_flight);
                }
            }
            What::Settled { durable, sequence, settlement } if *settlement != Settlement::Progress => {
                open.entry((node, durable)).or_default().remove(sequence);
            }
            What::Joined { .. } | What::Killed | What::Shutdown { .. } => {
                open.retain(|(on, _), _| *on != node);
                running.retain(|(on, _), _| *on != node);
            }
            What::Started(run) => {
                let running = running.entry((node, &run.handler)).or_default();
                *running += 1;
                if *running > limits.concurrency {
                    violated!("{running} runs of `{}` go on at the same time on {node}", run.handler);
                }
            }
            What::Effect(run) | What::Failed { run, .. } => {
                let running = running.entry((node, &run.handler)).or_default();
                *running = running.saturating_sub(1);
            }
            _ => {}
        }
    }
    Ok(())
}

/// A poison message, a panic, a slow message harm only themselves: what is healthy is handled at once, at its first run.
pub fn property_15(history: &History) -> Result<(), Violation> {
    if history.disturbed() {
        return Ok(());
    }
    let prompt = PROMPT + history.pace().late;
    let mut published: BTreeMap<Number, Duration> = BTreeMap::new();
    for (_, entry) in history.iter() {
        match &entry.what {
            What::Publishing { number, healthy: true, .. } => drop(published.insert(*number, entry.at)),
            What::Effect(run) => {
                let Some(at) = published.get(&run.number) else { continue };
                let took = entry.at - *at;
                if run.attempt != 1 || took > prompt {
                    violated!("{} was handled at attempt {} after {took:?}", run.number, run.attempt);
                }
            }
            _ => {}
        }
    }
    for (number, _) in published {
        if history.effects().all(|(.., run)| run.number != number) && heard(history, number) {
            violated!("{number} was healthy, but had no effect");
        }
    }
    Ok(())
}

/// Whether a node with a handler was there for a message, and it was accepted.
fn heard(history: &History, number: Number) -> bool {
    let accepted = |what: &What| matches!(what, What::Published { number: one, outcome: Ok(()) } if *one == number);
    let message = history.0.iter().find_map(|entry| match entry.what {
        What::Publishing { number: one, message, reliable: true, .. } if one == number => Some(message),
        _ => None,
    });
    history.0.iter().any(|entry| accepted(&entry.what))
        && history.0.iter().any(|entry| match &entry.what {
            What::Joined { handlers, .. } => handlers.iter().any(|handler| Some(handler.message) == message),
            _ => false,
        })
}
