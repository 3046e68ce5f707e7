//! Runs scenarios on a subject and judges their histories.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::future::BoxFuture;

use crate::{
    bench::{Bench, in_process::InProcessSubject, subject::Subject},
    broken::Breakage,
    checks::Property,
    history::{History, Violation},
    scenarios,
};

/// The seed of every random choice, unless `CONFORMANCE_SEED` gives another one.
const SEED: u64 = 0x00CA_76A0;

/// The seed of every random choice of a scenario.
pub fn seed() -> u64 {
    std::env::var("CONFORMANCE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED)
}

/// Load and faults that put certain properties to the test.
pub struct Scenario {
    pub name: &'static str,
    /// The properties for which a transport that breaks them fails here.
    pub provokes: &'static [Property],
    pub drive: for<'a> fn(&'a Bench) -> BoxFuture<'a, ()>,
    /// Whether the history shows that the scenario came to what it is about, on a transport that is sound.
    pub provoked: fn(&History) -> bool,
}

/// Makes a scenario of a driver.
#[macro_export]
macro_rules! scenario {
    ($driver:ident, [$($property:ident),*], $provoked:expr) => {
        $crate::suite::Scenario {
            name: stringify!($driver),
            provokes: &[$($crate::checks::Property::$property),*],
            drive: |bench| Box::pin($driver(bench)),
            provoked: $provoked,
        }
    };
}

async fn run(scenario: &Scenario, subject: Arc<dyn Subject>, breakage: Option<Breakage>) -> History {
    // Jitter comes from here as well: a run with the same seed is the same run.
    fastrand::seed(seed());
    let bench = Bench::new(subject, breakage);
    (scenario.drive)(&bench).await;
    bench.finish()
}

/// Runs a scenario on a sound transport: its history must have every property.
pub async fn conforms(scenario: &Scenario, subject: Arc<dyn Subject>) {
    let history = run(scenario, subject, None).await;
    for property in Property::ALL {
        if let Err(Violation(text)) = property.check(&history) {
            panic!("{} breaks {property:?} with seed {}: {text}", scenario.name, seed());
        }
    }
    assert!((scenario.provoked)(&history), "{} did not come to what it is about with seed {}", scenario.name, seed());
}

/// Runs every scenario on a broken transport: exactly the given properties must be found broken, each by a scenario that
/// provokes it.
pub async fn rejects(breakage: Breakage, broken: &[Property]) {
    let mut found: BTreeMap<Property, String> = BTreeMap::new();
    for scenario in scenarios::all().into_iter().filter(|scenario| !scenario.provokes.is_empty()) {
        let history = run(&scenario, InProcessSubject::subject(), Some(breakage)).await;
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
