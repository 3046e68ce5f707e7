//! What the transport is put through: load and faults, and nothing of a verdict.

mod attempts;
mod cluster;
mod connections;
mod faults;
mod kills;
mod load;
mod requests;
mod shutdown;
mod storm;

use crate::suite::Scenario;

/// Every scenario.
pub fn all() -> Vec<Scenario> {
    let all = [
        load::all(),
        faults::all(),
        kills::all(),
        attempts::all(),
        shutdown::all(),
        requests::all(),
        cluster::all(),
        connections::all(),
        storm::all(),
    ];
    all.into_iter().flatten().collect()
}

/// The one with this name.
pub fn named(scenarios: Vec<Scenario>, name: &str) -> Scenario {
    scenarios.into_iter().find(|one| one.name == name).unwrap()
}

/// Tests that the transport inside one process conforms, and the one over NATS: one test for each scenario and transport.
#[macro_export]
macro_rules! conformance_tests {
    ($($driver:ident, [$($property:ident),*], $provoked:expr;)*) => {
        pub fn all() -> Vec<$crate::suite::Scenario> {
            vec![$($crate::scenario!($driver, [$($property),*], $provoked)),*]
        }

        mod in_process {
            $(
                #[tokio::test(start_paused = true)]
                async fn $driver() {
                    use $crate::bench::in_process::InProcessSubject;
                    let scenario = $crate::scenarios::named(super::all(), stringify!($driver));
                    $crate::suite::conforms(&scenario, InProcessSubject::subject()).await;
                }
            )*
        }

        mod nats {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $driver() {
                    use $crate::bench::nats::NatsSubject;
                    let scenario = $crate::scenarios::named(super::all(), stringify!($driver));
                    $crate::suite::conforms(&scenario, NatsSubject::subject().await).await;
                }
            )*
        }
    };
}
