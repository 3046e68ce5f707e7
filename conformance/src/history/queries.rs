//! What the checks and the drivers ask of a history.

use std::collections::{BTreeMap, BTreeSet};

use catga::transport::Capabilities;

use super::{Bounds, Entry, Fault, HandlerSpec, History, Letter, Number, Pace, Run, What};

impl History {
    /// What the transport says that it can do.
    pub fn capabilities(&self) -> Capabilities {
        let began = self.0.iter().find_map(|entry| match entry.what {
            What::Began(capabilities, _) => Some(capabilities),
            _ => None,
        });
        began.unwrap_or(Capabilities::NONE)
    }

    /// How exact time is.
    pub fn pace(&self) -> Pace {
        let began = self.0.iter().find_map(|entry| match entry.what {
            What::Began(_, pace) => Some(pace),
            _ => None,
        });
        began.unwrap_or_default()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (usize, &Entry)> {
        self.0.iter().enumerate()
    }

    /// The runs that took effect, with their place in the history.
    pub fn effects(&self) -> impl Iterator<Item = (usize, &Entry, &Run)> {
        self.iter().filter_map(|(index, entry)| match &entry.what {
            What::Effect(run) => Some((index, entry, run)),
            _ => None,
        })
    }

    /// The runs that began.
    pub fn starts(&self) -> impl Iterator<Item = (usize, &Entry, &Run)> {
        self.iter().filter_map(|(index, entry)| match &entry.what {
            What::Started(run) => Some((index, entry, run)),
            _ => None,
        })
    }

    /// The dead letters, each once however often it was handed to the store.
    pub fn letters(&self) -> impl Iterator<Item = (usize, &Entry, &Letter)> {
        let mut seen = BTreeSet::new();
        self.iter().filter_map(move |(index, entry)| match &entry.what {
            What::Buried(letter) if seen.insert(letter.id) => Some((index, entry, letter)),
            _ => None,
        })
    }

    /// Whether something was done to the nodes or between them.
    pub fn disturbed(&self) -> bool {
        self.0.iter().any(|entry| matches!(entry.what, What::Killed | What::Fault(_) | What::Shutdown { .. }))
    }

    /// Whether a node crashed, or seemed to others to have crashed.
    pub fn crashed(&self) -> bool {
        let gone = |what: &What| match what {
            What::Killed => true,
            What::Fault(fault) => matches!(fault, Fault::Cut | Fault::Disconnect | Fault::Silence | Fault::Restart),
            _ => false,
        };
        self.0.iter().any(|entry| gone(&entry.what))
    }

    /// What callers asked for, by number; whether it was a command.
    pub fn asked(&self) -> BTreeMap<Number, bool> {
        let asked = self.0.iter().filter_map(|entry| match entry.what {
            What::Asked { number, command, .. } => Some((number, command)),
            _ => None,
        });
        asked.collect()
    }

    /// The kills, by node.
    pub fn kills(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.iter().filter(|(_, entry)| matches!(entry.what, What::Killed))
    }

    /// What a node handles and by what it is bound; no scenario changes that at a restart.
    pub fn node(&self, node: &str) -> Option<(&[HandlerSpec], &Bounds)> {
        self.0.iter().filter(|entry| *entry.node == *node).find_map(|entry| match &entry.what {
            What::Joined { handlers, limits } => Some((&handlers[..], limits)),
            _ => None,
        })
    }

    /// Every node that ever joined.
    pub fn joined(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|entry| matches!(entry.what, What::Joined { .. })).map(|entry| &*entry.node)
    }

    /// A handler, by name.
    pub fn handler(&self, name: &str) -> Option<&HandlerSpec> {
        self.0.iter().find_map(|entry| match &entry.what {
            What::Joined { handlers, .. } => handlers.iter().find(|handler| handler.name == name),
            _ => None,
        })
    }
}
