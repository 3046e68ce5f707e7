//! Transports that are broken on purpose: thin layers around one that is not, each of which breaks certain promises.
//! The suite must reject each for those, and for no other.

mod acknowledges_first;
mod content;
mod deduplicates_first;
mod doubles_in_groups;
mod loses_after_ok;
mod requests;
mod timing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use catga::transport::Delivery;
use tokio::sync::mpsc;

use crate::{
    bench::{Breakage, in_process::InProcessSubject},
    checks::Property,
    history::Violation,
    scenarios,
    suite::drive,
};

/// The way to further consumers, by durable and node.
type Ways = Mutex<BTreeMap<(Arc<str>, Arc<str>), mpsc::Sender<Delivery>>>;

/// Runs every scenario on a broken transport: exactly the given properties must be found broken, each by a scenario that
/// provokes it.
async fn rejects(breakage: Breakage, broken: &[Property]) {
    let mut found: BTreeMap<Property, String> = BTreeMap::new();
    for scenario in scenarios::all().into_iter().filter(|scenario| !scenario.provokes.is_empty()) {
        let history = drive(&scenario, Arc::new(InProcessSubject::new()), Some(breakage)).await;
        for property in scenario.provokes {
            if let Err(Violation(text)) = property.check(&history) {
                found.entry(*property).or_insert(format!("{}: {text}", scenario.name));
            }
        }
    }
    let expected: BTreeSet<_> = broken.iter().copied().collect();
    let rejected: BTreeSet<_> = found.keys().copied().collect();
    assert_eq!(rejected, expected, "{found:#?}");
}
