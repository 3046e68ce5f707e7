//! CQRS and messaging by derive macros.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod id;

mod codec;
mod envelope;
mod frame;
mod message;

mod checks;
mod context;
mod extract;
mod handler;
mod registry;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

#[cfg(feature = "macros")]
pub use catga_macros::{Command, Event, Query, handler};

pub use crate::{
    context::Context,
    envelope::Headers,
    error::{BoxError, Error, ErrorKind, Failure, IntoFailure, Outcome, Retry},
    extract::{FromContext, Missing, State, States},
    id::MessageId,
    message::{Command, Event, Kind, Message, Qos, Query, Request},
};
