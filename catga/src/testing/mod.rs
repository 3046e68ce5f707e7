//! Several nodes in one process, with virtual time, a record of what they did, and faults.
//!
//! A [`Harness`] gives out builders of nodes that share a broker, and records everything that they do. Messages are
//! encoded and decoded even where a node sends to itself: what works here works across a network. In a test with tokio's
//! paused clock, hours of retries and time-outs pass in milliseconds.
//!
//! ```standalone_crate
//! use catga::{Event, handler, testing::Harness};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Event, Clone, Serialize, Deserialize)]
//! #[reliable]
//! struct Signed {
//!     by: String,
//! }
//!
//! #[handler]
//! async fn file(_: Signed) {}
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), catga::Error> {
//!     tokio::time::pause();
//!     let harness = Harness::new();
//!     let first = harness.node("node1").build().await?;
//!     let second = harness.node("node2").build().await?;
//!     first.publish(Signed { by: "Ada".into() }).await?;
//!     harness.settled().await?;
//!     assert_eq!(harness.record().handled::<Signed>().on("node2").count(), 1);
//!     Ok(())
//! }
//! ```

mod faults;
mod harness;
mod kill;
mod record;

pub use self::{
    faults::{Fault, Traffic},
    harness::Harness,
    record::{Entry, Record},
};
pub use crate::delivery::observe::Occurrence;
