//! Who is answered, by whom, when; and who is in the cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use catga::Outcome;

use crate::history::{Entry, Fault, History, Number, Pace, Violation, What, violated};

/// How exact timers are.
const GRAIN: Duration = Duration::from_millis(50);

/// One reply or one typed error by the deadline, no reply to the wrong caller, late replies counted.
pub fn property_11(history: &History) -> Result<(), Violation> {
    let mut waiting: BTreeMap<Number, (&Entry, Duration)> = BTreeMap::new();
    let mut given_up: BTreeMap<Number, &str> = BTreeMap::new();
    let mut late: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, entry) in history.iter() {
        match &entry.what {
            What::Asked { number, deadline, .. } => drop(waiting.insert(*number, (entry, *deadline))),
            What::Answered { number, result } => {
                let Some((asked, deadline)) = waiting.remove(number) else {
                    violated!("{number} was answered twice, or never asked");
                };
                if entry.at > asked.at + deadline + GRAIN + history.pace().late {
                    violated!("{number} was answered after {:?}, with {deadline:?} to go", entry.at - asked.at);
                }
                match result {
                    Ok(reply) if reply != number => violated!("who asked {number} had the reply to {reply}"),
                    Ok(_) => {}
                    Err((_, Outcome::Unknown)) => drop(given_up.insert(*number, &entry.node)),
                    Err(_) => {}
                }
            }
            What::Effect(run) => {
                if let Some(asker) = given_up.get(&run.number).filter(|asker| **asker != &*entry.node) {
                    *late.entry(asker).or_default() += 1;
                }
            }
            What::Counted { late_replies, .. } => {
                let late = late.get(&*entry.node).copied().unwrap_or(0);
                if *late_replies < late && !history.disturbed() {
                    violated!("{late} replies came too late at {}, and {late_replies} were counted", entry.node);
                }
            }
            _ => {}
        }
    }
    if let Some(number) = waiting.keys().next() {
        violated!("{number} was never answered");
    }
    Ok(())
}

/// A command runs on one node unless its outcome was unknown: the node that had it died, or was cut off.
pub fn property_12(history: &History) -> Result<(), Violation> {
    let asked = history.asked();
    let mut on: BTreeMap<Number, &str> = BTreeMap::new();
    let mut doubtful: BTreeSet<&str> = BTreeSet::new();
    for (_, entry) in history.iter() {
        match &entry.what {
            What::Killed | What::Fault(Fault::Cut | Fault::Disconnect | Fault::Silence) => {
                doubtful.insert(&entry.node);
            }
            // For each it is as if the others were gone.
            What::Fault(Fault::Restart) => doubtful.extend(history.joined()),
            What::Fault(Fault::Heal) => doubtful.clear(),
            What::Started(run) if asked.get(&run.number) == Some(&true) => {
                if let Some(before) = on.insert(run.number, &entry.node)
                    && !doubtful.contains(before)
                {
                    violated!("{} ran on {before}, which was alive, and then on {}", run.number, entry.node);
                }
            }
            _ => {}
        }
    }
    for (_, entry) in history.iter() {
        if let What::Answered { number, result: Err((kind, Outcome::NotStarted)) } = &entry.what
            && on.contains_key(number)
        {
            violated!("{number} ran, but its sender was told that it did not start ({kind:?})");
        }
    }
    Ok(())
}

/// Since when a node is there, or is not.
#[derive(Clone, Copy)]
struct Truth {
    online: bool,
    since: Duration,
    /// How long others may take to learn it.
    grace: Duration,
}

/// Membership converges within a heartbeat of a change and within the time-out of a silent death.
pub fn property_13(history: &History) -> Result<(), Violation> {
    let Pace { late, reconnects } = history.pace();
    let grain = GRAIN + late;
    let mut truths: BTreeMap<&str, Truth> = BTreeMap::new();
    let mut cut: BTreeSet<&str> = BTreeSet::new();
    for (_, entry) in history.iter() {
        let (node, since) = (&*entry.node, entry.at);
        let Some((_, limits)) = history.node(node).or_else(|| history.node(truths.keys().next()?)) else { continue };
        let (heartbeat, silence) = (limits.heartbeat + grain, limits.silence + grain);
        match &entry.what {
            What::Joined { .. } => drop(truths.insert(node, Truth { online: true, since, grace: heartbeat })),
            What::Shutdown { .. } => drop(truths.insert(node, Truth { online: false, since, grace: heartbeat })),
            What::Killed => drop(truths.insert(node, Truth { online: false, since, grace: silence })),
            What::Fault(Fault::Cut | Fault::Silence) => {
                cut.insert(node);
                truths.insert(node, Truth { online: false, since, grace: silence });
            }
            What::Fault(Fault::Heal) => {
                for node in std::mem::take(&mut cut) {
                    truths.insert(node, Truth { online: true, since, grace: heartbeat + reconnects });
                }
            }
            What::View { online } if !cut.contains(node) => {
                let own = truths.get(node).map_or(since, |truth| truth.since);
                for (other, truth) in truths.iter().filter(|(other, _)| **other != node) {
                    let settled = entry.at.saturating_sub(truth.since.max(own)) > truth.grace;
                    if settled && online.contains(*other) != truth.online {
                        violated!(
                            "{node} thinks that {other} is {}, {:?} after that changed",
                            if truth.online { "away" } else { "there" },
                            entry.at - truth.since
                        );
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}
