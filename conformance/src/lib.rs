//! Whether a transport keeps what the contract of [`catga::transport`] promises.
//!
//! A scenario drives load and faults through mediators on a transport; everything that happens is written into a history
//! outside of the nodes; checks judge the history, one for each numbered [`Property`]. The suite itself is tested by
//! transports that are broken on purpose: it rejects each for exactly what it breaks.
//!
//! # How to hold your transport to it
//!
//! 1. Implement [`Transport`](catga::transport::Transport). What it carries may be anything; most will carry the frames of
//!    [`catga::transport::frame`].
//! 2. Implement [`Subject`]: it makes the transport with an empty store, says by which limits a node on it lives and how exact
//!    time is, and puts [`Faults`] in force. [`InProcessSubject`] is one to read. What can only happen to some transports,
//!    such as a store that ends and starts again, is asked of those whose
//!    [`Capabilities`](catga::transport::Capabilities) say so.
//! 3. Have [`conformance_tests!`] make the tests, in a file of their own below `tests/`: the handlers of the suite are found in
//!    every program that links it.
//!
//! ```
//! // tests/conformance.rs
//! mod mine {
//!     use catga_conformance::InProcessSubject as MySubject;
//!
//!     catga_conformance::conformance_tests!(Virtual, MySubject::new());
//! }
//! ```
//!
//! `tests/third.rs` of this crate shows all of it for a transport from outside of catga.
//!
//! # When a test fails
//!
//! The text names the scenario, the property, the seed and what happened. `CONFORMANCE_SEED` gives the same load again, and on
//! a virtual clock the same run. Where a scenario "did not come to what it is about", a fault did not strike: a subject whose
//! faults do nothing proves nothing.

mod bench;
#[cfg(test)]
mod broken;
mod checks;
mod generate;
mod history;
mod journal;
mod messages;
mod scenarios;
mod suite;
#[cfg(test)]
mod tests;
mod versions;
#[cfg(test)]
mod wire;
mod world;

pub use self::{
    bench::{
        in_process::InProcessSubject,
        subject::{Faults, Subject},
    },
    checks::Property,
    history::Pace,
    suite::{Clock, run},
};

/// Every scenario: its name, and the properties for which a transport that breaks them fails there.
pub fn scenarios() -> Vec<(&'static str, &'static [Property])> {
    scenarios::all().iter().map(|scenario| (scenario.name, scenario.provokes)).collect()
}
