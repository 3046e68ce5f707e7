//! CQRS and messaging by derive macros.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod id;

mod codec;
mod dead_letter;
mod envelope;
mod frame;
mod message;

mod checks;
mod context;
mod extract;
mod handler;
mod registry;

pub mod middleware;
pub mod transport;

pub mod cluster;
mod delivery;
mod idempotency;

mod assembly;
mod builder;
mod dead_letters;
mod mediator;
mod publishing;
mod sending;
mod signal;
mod wiring;

#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "testing")]
pub mod testing;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

#[cfg(feature = "macros")]
pub use catga_macros::{Command, Event, Query, handler};

pub use crate::{
    builder::Builder,
    cluster::{Cluster, ClusterChange, ClusterChanges, NodeInfo, Routing},
    context::Context,
    dead_letters::DeadLetters,
    delivery::{counters::Counts, limits::Limits},
    envelope::Headers,
    error::{BoxError, Error, ErrorKind, Failure, IntoFailure, Outcome, Retry},
    extract::{FromContext, Missing, State, States},
    id::MessageId,
    mediator::Mediator,
    message::{Command, Event, Kind, Message, Qos, Query, Request},
    publishing::{PublishOptions, Publishing},
    sending::{SendOptions, Sending},
};
