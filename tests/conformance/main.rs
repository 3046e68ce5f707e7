//! The conformance suite: whether a transport keeps what the contract of `catga::transport` promises.
//!
//! A scenario drives load and faults through mediators on a transport; everything that happens is written into a history
//! outside of the nodes; the checks judge the history, one for each numbered property. Transports that are broken on
//! purpose show that the suite rejects what it must reject.
#![allow(missing_docs)]

mod bench;
mod broken;
mod checks;
mod history;
mod journal;
mod messages;
mod scenarios;
mod suite;
mod versions;
mod wire;
mod world;
