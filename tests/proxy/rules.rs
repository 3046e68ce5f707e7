//! Which messages are lost, doubled or late on their way, and how often.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

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

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    /// How many of it arrive.
    pub(super) copies: usize,
    /// How much later than others; those overtake it.
    pub(super) late: Duration,
}

impl Fate {
    /// It arrives as it was sent.
    pub(super) const PASSES: Self = Self { copies: 1, late: Duration::ZERO };
}

/// What happens to certain messages.
pub struct Rule {
    direction: Direction,
    fits: Box<dyn Fn(&Message) -> bool + Send + Sync>,
    fate: Fate,
    /// How often it may still be applied; none is without end.
    left: Option<usize>,
    applied: watch::Sender<usize>,
}

impl Rule {
    /// Messages that fit do not arrive.
    pub fn drop(direction: Direction, fits: impl Fn(&Message) -> bool + Send + Sync + 'static) -> Self {
        Self::new(direction, fits, Fate { copies: 0, ..Fate::PASSES })
    }

    /// Messages that fit arrive twice.
    pub fn duplicate(direction: Direction, fits: impl Fn(&Message) -> bool + Send + Sync + 'static) -> Self {
        Self::new(direction, fits, Fate { copies: 2, ..Fate::PASSES })
    }

    /// Messages that fit arrive later, and what was sent behind them overtakes them.
    pub fn delay(
        direction: Direction,
        fits: impl Fn(&Message) -> bool + Send + Sync + 'static,
        late: Duration,
    ) -> Self {
        Self::new(direction, fits, Fate { late, ..Fate::PASSES })
    }

    fn new(direction: Direction, fits: impl Fn(&Message) -> bool + Send + Sync + 'static, fate: Fate) -> Self {
        Self { direction, fits: Box::new(fits), fate, left: None, applied: watch::Sender::new(0) }
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

    /// What becomes of a message.
    pub(super) fn fate(&self, direction: Direction, message: &Message) -> Fate {
        let mut rules = self.lock();
        let mut open = rules.iter_mut().filter(|rule| rule.direction == direction && rule.left != Some(0));
        let Some(rule) = open.find(|rule| (rule.fits)(message)) else { return Fate::PASSES };
        rule.left = rule.left.map(|left| left - 1);
        rule.applied.send_modify(|count| *count += 1);
        rule.fate
    }
}
