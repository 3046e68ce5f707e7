//! Which messages are lost or doubled on their way, and how often.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;

use super::protocol::Message;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What clients publish, acknowledgements among it.
    ToServer,
    /// What clients receive: deliveries, replies, and the confirmations of a store.
    ToClient,
}

/// What happens to certain messages.
pub struct Rule {
    direction: Direction,
    fits: Box<dyn Fn(&Message) -> bool + Send + Sync>,
    /// How many of it arrive.
    copies: usize,
    /// How often it may still be applied; none is without end.
    left: Option<usize>,
    applied: watch::Sender<usize>,
}

impl Rule {
    /// Messages that fit do not arrive.
    pub fn drop(direction: Direction, fits: impl Fn(&Message) -> bool + Send + Sync + 'static) -> Self {
        Self::new(direction, fits, 0)
    }

    /// Messages that fit arrive twice.
    pub fn duplicate(direction: Direction, fits: impl Fn(&Message) -> bool + Send + Sync + 'static) -> Self {
        Self::new(direction, fits, 2)
    }

    fn new(direction: Direction, fits: impl Fn(&Message) -> bool + Send + Sync + 'static, copies: usize) -> Self {
        Self { direction, fits: Box::new(fits), copies, left: None, applied: watch::Sender::new(0) }
    }

    /// Only the next so many of them; without, all.
    pub fn times(self, times: usize) -> Self {
        Self { left: Some(times), ..self }
    }
}

/// How often a rule has been applied.
pub struct Applied(watch::Receiver<usize>);

impl Applied {
    /// By now.
    pub fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until it is so many times, or the rule is removed; gives the number.
    pub async fn reaches(&mut self, times: usize) -> usize {
        let _ = self.0.wait_for(|count| *count >= times).await;
        self.count()
    }
}

/// The rules of a proxy, in the order in which they were added.
#[derive(Default)]
pub(super) struct Rules(Mutex<Vec<Rule>>);

impl Rules {
    fn lock(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.0.lock().unwrap_or_else(|error| error.into_inner())
    }

    pub(super) fn add(&self, rule: Rule) -> Applied {
        let applied = Applied(rule.applied.subscribe());
        self.lock().push(rule);
        applied
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// How many of a message arrive.
    pub(super) fn copies(&self, direction: Direction, message: &Message) -> usize {
        let mut rules = self.lock();
        let mut open = rules.iter_mut().filter(|rule| rule.direction == direction && rule.left != Some(0));
        let Some(rule) = open.find(|rule| (rule.fits)(message)) else { return 1 };
        rule.left = rule.left.map(|left| left - 1);
        rule.applied.send_modify(|count| *count += 1);
        rule.copies
    }
}
