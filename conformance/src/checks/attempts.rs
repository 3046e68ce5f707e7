//! How often a handler runs, how long it waits in between, and what is left of what it gave up.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    history::{Entry, Fault, HandlerSpec, History, Letter, Number, Violation, What, violated},
    messages::text_of,
};

/// The part of a delay that chance may add.
const JITTER: f64 = 0.5;
/// The longest delay before jitter.
const LONGEST: Duration = Duration::from_secs(30);
/// How exact timers are.
const GRAIN: Duration = Duration::from_millis(5);

/// A handler and a message, on one node or in a group.
type Key<'a> = (&'a str, Number, Option<&'a str>);

fn key<'a>(handler: &'a HandlerSpec, number: Number, node: &'a str) -> Key<'a> {
    (handler.name, number, handler.group.is_none().then_some(node))
}

/// Attempts are exact without a crash: dead letter at attempt n, not n - 1 or n + 1.
pub fn property_6(history: &History) -> Result<(), Violation> {
    if history.crashed() {
        return Ok(());
    }
    let unsigned = history.0.iter().any(|entry| matches!(entry.what, What::Fault(Fault::LoseAcknowledgements(_))));
    let asked = history.asked();
    let mut last: BTreeMap<Key<'_>, (u32, bool)> = BTreeMap::new();
    for (_, entry) in history.iter() {
        match &entry.what {
            What::Started(run) if !asked.contains_key(&run.number) => {
                let Some(handler) = history.handler(&run.handler) else { continue };
                let (before, _) = last.get(&key(handler, run.number, &entry.node)).copied().unwrap_or_default();
                // A run whose sign was lost is repeated by who cannot know of it: another member, or the node's next life.
                let is_new =
                    handler.group.is_some() || history.joined().filter(|node| *node == &*entry.node).count() > 1;
                let again = unsigned && is_new && run.attempt <= before;
                if (run.attempt != before + 1 && !again) || run.attempt > handler.attempts {
                    violated!("`{}` ran attempt {} of {} after {before}", run.handler, run.attempt, run.number);
                }
                last.insert(key(handler, run.number, &entry.node), (run.attempt.max(before), false));
            }
            What::Failed { run, permanent } => {
                let Some(handler) = history.handler(&run.handler) else { continue };
                let (ran, _) = last.get(&key(handler, run.number, &entry.node)).copied().unwrap_or_default();
                last.insert(key(handler, run.number, &entry.node), (run.attempt.max(ran), *permanent));
            }
            What::Replayed { letter } => {
                let dead = history.letters().find(|(.., dead)| dead.id == *letter);
                let Some((handler, number)) = dead.and_then(|(.., dead)| given_up(history, dead)) else { continue };
                last.retain(|(name, one, _), _| *name != handler.name || *one != number);
            }
            What::Buried(letter) => {
                let Some((handler, number)) = given_up(history, letter) else { continue };
                let Some((ran, permanent)) = last.get(&key(handler, number, &entry.node)) else { continue };
                if letter.attempts != *ran || (!permanent && *ran != handler.attempts) {
                    violated!(
                        "{number} became a dead letter of `{}` at attempt {} after {ran} of {} runs",
                        handler.name,
                        letter.attempts,
                        handler.attempts
                    );
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The handler and the message of a dead letter.
fn given_up<'a>(history: &'a History, letter: &Letter) -> Option<(&'a HandlerSpec, Number)> {
    Some((history.handler(letter.handler.as_deref()?)?, letter.message.as_ref()?.number?))
}

/// A dead letter is complete, and its replay takes effect once.
pub fn property_7(history: &History) -> Result<(), Violation> {
    for (_, entry, letter) in history.letters() {
        if letter.code.is_empty() || letter.attempts == 0 || letter.durable.is_empty() || *letter.node != *entry.node {
            violated!("a dead letter does not say how and where it came to be: {letter:?}");
        }
        let Some(message) = &letter.message else { continue };
        let Some((handler, number)) = given_up(history, letter) else {
            violated!("a dead letter does not say which handler gave up what: {letter:?}");
        };
        let run = history.starts().map(|(.., run)| run).find(|run| run.number == number && run.handler == handler.name);
        if run.is_some_and(|run| {
            (run.id, run.correlation, &run.header, &run.text)
                != (message.id, message.correlation, &letter.header, &letter.text)
        }) {
            violated!("the dead letter of {number} is not the message that `{}` was given: {letter:?}", handler.name);
        }
        if run.is_some() && letter.text != text_of(number) {
            violated!("the dead letter of {number} has another text");
        }
    }
    for (at, entry) in history.iter() {
        match &entry.what {
            What::Listed(listed) => listed_as_buried(history, at, listed)?,
            What::Replayed { letter: id } => {
                let Some((.., letter)) = history.letters().find(|(.., letter)| letter.id == *id) else { continue };
                replayed_once(history, at, letter)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// A replay ends in one effect, or in another dead letter, before the next one.
fn replayed_once(history: &History, at: usize, letter: &Letter) -> Result<(), Violation> {
    let Some((handler, number)) = given_up(history, letter) else { return Ok(()) };
    let same = |other: &Letter| {
        given_up(history, other) == Some((handler, number)) && (handler.group.is_some() || other.node == letter.node)
    };
    let replayed = |id| history.letters().any(|(.., other)| other.id == id && same(other));
    let mut later = history.iter().filter(|(index, _)| *index > at);
    let next = later.find(|(_, entry)| matches!(entry.what, What::Replayed { letter } if replayed(letter)));
    let window = at + 1..next.map_or(usize::MAX, |(index, _)| index);
    let on_it = |entry: &Entry| handler.group.is_some() || *entry.node == *letter.node;
    let effects = history.effects().filter(|(index, entry, run)| {
        window.contains(index) && on_it(entry) && run.number == number && run.handler == handler.name
    });
    let again = history.letters().any(|(index, _, other)| window.contains(&index) && same(other));
    match effects.count() + usize::from(again) {
        1 => Ok(()),
        ends => violated!("the replay of {number} for `{}` ended {ends} times", handler.name),
    }
}

/// What a node was shown is what was buried and has not been replayed.
fn listed_as_buried(history: &History, at: usize, listed: &[Letter]) -> Result<(), Violation> {
    let replayed = |letter: &Letter| {
        let replay = |(index, entry): (usize, &Entry)| {
            index < at && matches!(entry.what, What::Replayed { letter: id } if id == letter.id)
        };
        history.iter().any(replay)
    };
    let buried: Vec<_> = history.letters().filter(|(index, ..)| *index < at).map(|(.., letter)| letter).collect();
    let open: Vec<_> = buried.iter().filter(|letter| !replayed(letter)).collect();
    if let Some(missing) = open.iter().find(|letter| !listed.contains(letter)) {
        violated!("a dead letter is not in the list, or not as it was buried: {missing:?}");
    }
    if listed.len() != open.len() {
        violated!("{} dead letters are listed instead of {}", listed.len(), open.len());
    }
    Ok(())
}

/// Delays lie in [d, d(1 + j)].
pub fn property_8(history: &History) -> Result<(), Violation> {
    let (disturbed, late) = (history.disturbed(), GRAIN + history.pace().late);
    // When each attempt failed first: a crash may have it run again while the next one is on its way.
    let mut failed: BTreeMap<(Key<'_>, u32), Duration> = BTreeMap::new();
    for (_, entry) in history.iter() {
        match &entry.what {
            What::Failed { run, .. } => {
                let Some(handler) = history.handler(&run.handler) else { continue };
                failed.entry((key(handler, run.number, &entry.node), run.attempt)).or_insert(entry.at);
            }
            What::Started(run) => {
                let Some(handler) = history.handler(&run.handler) else { continue };
                let before = (key(handler, run.number, &entry.node), run.attempt - 1);
                let Some(at) = failed.get(&before) else { continue };
                let delay = (handler.backoff * 4_u32.pow(run.attempt - 2)).min(LONGEST);
                let (waited, most) = (entry.at - *at, delay.mul_f64(1.0 + JITTER) + late);
                // What is lost on the way and made good comes later.
                if waited < delay || (waited > most && !disturbed) {
                    violated!("`{}` ran again after {waited:?}, not after {delay:?} to {most:?}", run.handler);
                }
            }
            What::Replayed { letter } => {
                let dead = history.letters().find(|(.., dead)| dead.id == *letter);
                let Some((handler, number)) = dead.and_then(|(.., dead)| given_up(history, dead)) else { continue };
                failed.retain(|((name, one, _), _), _| *name != handler.name || *one != number);
            }
            _ => {}
        }
    }
    Ok(())
}
