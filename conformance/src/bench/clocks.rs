//! Nodes whose clocks are wrong: so are the times in all that they say.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use catga::transport::{DeadLetter, Envelope};
use serde_json::Value;

use super::hooked::Hooks;

/// How many milliseconds the clock of each node is ahead; one that is not named here is right.
#[derive(Clone, Default)]
pub struct Clocks(Arc<Mutex<BTreeMap<String, i64>>>);

impl Clocks {
    pub fn set(&self, node: &str, ahead_ms: i64) {
        self.0.lock().unwrap().insert(node.to_owned(), ahead_ms);
    }

    fn ahead_ms(&self, node: &str) -> i64 {
        self.0.lock().unwrap().get(node).copied().unwrap_or(0)
    }

    /// Gives what a node has just made the times that its clock shows.
    fn stamp(&self, node: &str, batch: &mut [Envelope]) {
        let ahead = self.ahead_ms(node);
        for envelope in batch {
            envelope.time_ms = envelope.time_ms.saturating_add_signed(ahead);
            if let Some(request) = &mut envelope.request {
                request.deadline_ms = request.deadline_ms.saturating_add_signed(ahead);
            }
        }
    }
}

impl Hooks for Clocks {
    fn publishing(&self, node: &str, batch: &mut Vec<Envelope>) {
        self.stamp(node, batch);
    }

    fn storing(&self, node: &str, batch: &mut Vec<Envelope>) {
        self.stamp(node, batch);
    }

    fn requesting(&self, node: &str, _: &str, batch: &mut Vec<Envelope>) {
        self.stamp(node, batch);
    }

    fn burying(&self, node: &str, letter: &mut DeadLetter) {
        letter.time_ms = letter.time_ms.saturating_add_signed(self.ahead_ms(node));
    }

    fn announcing(&self, node: &str, announcement: &mut Bytes) -> bool {
        let ahead = self.ahead_ms(node);
        let mut said: Value = serde_json::from_slice(announcement).unwrap();
        for record in said.as_object_mut().unwrap().values_mut().filter(|record| record["node"] == *node) {
            for (name, per_milli) in [("started_ms", 1), ("incarnation", 1_000)] {
                if let Some(shown) = record[name].as_u64() {
                    record[name] = shown.saturating_add_signed(ahead * per_milli).into();
                }
            }
        }
        *announcement = said.to_string().into();
        true
    }
}
