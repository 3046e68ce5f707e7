//! What stands around a handler.
//!
//! Outermost first: trace, deadline of the request, idempotency, turn at the handler's gate, retry, time-out, panic
//! isolation, the layers that the application adds, the handler. Layers therefore see every run of a handler, wherever its
//! message comes from.

pub(crate) mod gate;
pub(crate) mod layer;
#[cfg_attr(not(feature = "metrics"), path = "unmetered.rs")]
pub(crate) mod meter;
pub(crate) mod retry;
pub(crate) mod run;

pub use layer::{Answer, Call, Failed, HandlerService, Next, from_fn};
pub use retry::{JITTER, MAX_DELAY};
