//! Runs scenarios on a subject and judges their histories.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::{
    bench::{Bench, Breakage, subject::Subject},
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

/// Makes the scenarios of a file, `all`, of their drivers: what each provokes, and how its history shows that it came to what it is about.
macro_rules! all_of {
    ($($driver:ident, [$($property:ident),*], $provoked:expr;)*) => {
        pub fn all() -> Vec<$crate::suite::Scenario> {
            vec![$($crate::suite::Scenario {
                name: stringify!($driver),
                provokes: &[$($crate::checks::Property::$property),*],
                drive: |bench| Box::pin($driver(bench)),
                provoked: $provoked,
            }),*]
        }
    };
}
pub(crate) use all_of;

/// How time passes in the tests of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// On tokio's clock, stopped: it goes on when nobody has anything to do, and minutes take no time. For a transport all of
    /// whose waiting is tokio's.
    Virtual,
    /// As everywhere: for a transport with sockets, or processes beside this one.
    Real,
}

/// Runs one scenario on a subject: whatever it is about, the transport must keep every promise that shows.
///
/// [`conformance_tests!`](crate::conformance_tests) calls it for each scenario.
///
/// # Panics
///
/// With the property that is broken, the seed, and what happened.
pub fn run<S: Subject>(scenario: &str, clock: Clock, subject: impl Future<Output = S>) {
    let mut runtime = match clock {
        Clock::Virtual => tokio::runtime::Builder::new_current_thread(),
        Clock::Real => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.worker_threads(2).enable_all().start_paused(clock == Clock::Virtual).build().unwrap();
    let all = scenarios::all();
    let scenario = all.iter().find(|one| one.name == scenario).unwrap();
    runtime.block_on(async { conforms(scenario, Arc::new(subject.await)).await });
}

/// Drives a scenario and gives what happened.
pub async fn drive(scenario: &Scenario, subject: Arc<dyn Subject>, breakage: Option<Breakage>) -> History {
    // Jitter comes from here as well: a run with the same seed is the same run, on a virtual clock.
    fastrand::seed(seed());
    let bench = Bench::new(subject, breakage);
    (scenario.drive)(&bench).await;
    bench.finish()
}

/// Runs a scenario on a sound transport: its history must have every property.
async fn conforms(scenario: &Scenario, subject: Arc<dyn Subject>) {
    let history = drive(scenario, subject, None).await;
    for property in Property::ALL {
        if let Err(Violation(text)) = property.check(&history) {
            panic!("{} breaks {property:?} with seed {}: {text}", scenario.name, seed());
        }
    }
    assert!((scenario.provoked)(&history), "{} did not come to what it is about with seed {}", scenario.name, seed());
}
