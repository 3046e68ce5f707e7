//! Commands, queries and events: messages are structs, handlers are async functions, and a mediator carries each message to
//! those that handle it, in one process or between the nodes of a cluster.
//!
//! ```standalone_crate
//! use catga::{Command, Context, Event, Failure, Mediator, handler};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Command, Clone, Serialize, Deserialize)]
//! #[response(u64)]
//! struct PlaceOrder {
//!     quantity: u32,
//! }
//!
//! #[derive(Event, Clone, Serialize, Deserialize)]
//! #[reliable] // handled at least once; without it, at most once
//! struct OrderPlaced {
//!     id: u64,
//! }
//!
//! #[handler]
//! async fn place_order(order: PlaceOrder, ctx: Context) -> Result<u64, Failure> {
//!     if order.quantity == 0 {
//!         return Err(Failure::new("quantity", "an order is for one at least"));
//!     }
//!     ctx.emit(OrderPlaced { id: 1 }); // leaves when this handler has succeeded, before its reply
//!     Ok(1)
//! }
//!
//! #[handler] // on every node; `#[handler(group = "mail")]`: on one node of the group
//! async fn send_receipt(event: OrderPlaced) {
//!     println!("a receipt for order {}", event.id);
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), catga::Error> {
//!     let mediator = Mediator::builder().build().await?;
//!     assert_eq!(mediator.send(PlaceOrder { quantity: 2 }).await?, 1);
//!     let refused = mediator.send(PlaceOrder { quantity: 0 }).await.unwrap_err();
//!     assert_eq!(refused.failure().map(Failure::code), Some("quantity"));
//!     mediator.shutdown().await
//! }
//! ```
//!
//! # Where to read on
//!
//! - [`Command`](derive@Command), [`Query`](derive@Query), [`Event`](derive@Event) and
//!   [`handler`](macro@handler) are the macros: what they accept stands there.
//! - [`Mediator`] sends and publishes; [`Builder`] says what a node is made of; [`Limits`] are all its limits.
//! - [`State`], [`Context`] and [`FromContext`] are what handlers take; [`Failure`] is what they answer when they do not
//!   succeed, [`Error`] what a caller is told.
//! - [`middleware`] goes around handlers: any layer of `tower`.
//! - [`Cluster`] shows the nodes; [`Routing`] chooses among them. [`DeadLetters`] are the reliable events that handlers gave
//!   up.
//! - [`transport`] is the contract of what carries messages, and [`transport::InProcess`], which carries them in one process.
//! - `http`, `tap` and `testing` are doors that a feature opens.
//!
//! # Logging
//!
//! A node logs by [`tracing`](https://docs.rs/tracing), under the target `catga` and those below it: at `info` the handlers
//! that were found and the nodes that come and go, at `warn` what is dropped, refused or given up. No payload is logged.
//!
//! ```
//! tracing_subscriber::fmt().with_env_filter("catga=info").init();
//! ```
//!
//! # Metrics
//!
//! With the feature `metrics`, the recorder that the program has installed by the crate
//! [`metrics`](https://docs.rs/metrics) before `build()` is shown:
//!
//! | metric | what it is | labels |
//! |---|---|---|
//! | `messaging.process.duration` | a histogram: the seconds that each run of a handler took, what it emitted included | `messaging.system`, `messaging.destination.name`, `messaging.consumer.group.name`, `catga.handler`, `error.type` |
//! | `messaging.client.sent.messages` | a counter: what was sent, published or emitted | `messaging.system`, `messaging.destination.name` |
//! | `catga.dropped`, `catga.retries`, `catga.lagged` and so on | a counter for each field of [`Counts`] | none |
//!
//! `messaging.system` is `catga`, the destination is the name of the message. `error.type` is missing where a run
//! succeeded, and else `failure`, `panic`, `timeout`, `not_emitted` or `cancelled`. The nodes of one process count
//! together; [`Mediator::counts`] tells them apart.
//!
//! # Features
//!
//! | feature | brings | default |
//! |---|---|---|
//! | `macros` | the derives and `#[handler]` | yes |
//! | `http` | `catga::http` for axum: errors as JSON problems, JSON bodies, `Idempotency-Key`, `/health`, `/ready` | no |
//! | `metrics` | times of handlers and counts for a recorder | no |
//! | `nats` | `transport::Nats`, a cluster over NATS, and `catga::tap`, which prints what passes over it | no |
//! | `testing` | `catga::testing`: several nodes in virtual time, a record of what they did, faults | no |
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
mod emitting;
mod mediator;
mod publishing;
mod sending;
mod signal;
mod waiting;
mod wiring;

#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "nats")]
pub mod tap;
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
    signal::Signals,
};
