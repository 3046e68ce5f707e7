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
