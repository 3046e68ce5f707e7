//! The HTTP door, for axum: errors as JSON problems, JSON bodies, `Idempotency-Key`, `/health` and `/ready`.
//!
//! In `Cargo.toml`: `catga` with the feature `http`, `axum = "0.8"`, and for the log
//! `tracing-subscriber = { version = "0.3", features = ["env-filter"] }`.
//!
//! ```no_run
//! use axum::{Router, extract::State, http::StatusCode, routing::post};
//! use catga::{Command, Mediator, handler, http};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Command, Clone, Serialize, Deserialize)]
//! #[response(u64)]
//! struct PlaceOrder { sku: String }
//!
//! #[handler]
//! async fn place_order(order: PlaceOrder) -> u64 {
//!     order.sku.len() as u64
//! }
//!
//! async fn place(
//!     State(mediator): State<Mediator>,
//!     key: http::IdempotencyKey,
//!     http::Json(order): http::Json<PlaceOrder>,
//! ) -> Result<(StatusCode, String), http::Problem> {
//!     let id = mediator.send_with(order, key.into()).await.map_err(|error| {
//!         http::Problem::from(error).status_for("out_of_stock", StatusCode::CONFLICT)
//!     })?;
//!     Ok((StatusCode::CREATED, id.to_string()))
//! }
//!
//! fn routes(mediator: Mediator) -> Router {
//!     let routes = Router::new().route("/orders", post(place)).with_state(mediator.clone());
//!     http::problems(routes.merge(http::health(mediator.clone())).merge(http::ready(mediator)))
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // Which handlers were found, and what is dropped or given up.
//!     tracing_subscriber::fmt().with_env_filter("catga=info").init();
//!     let mediator = Mediator::builder().node("node1").build().await?;
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:5001").await?;
//!     let ended = async { drop(tokio::signal::ctrl_c().await) };
//!     axum::serve(listener, routes(mediator.clone())).with_graceful_shutdown(ended).await?;
//!     Ok(mediator.shutdown().await?)
//! }
//! ```
//!
//! Every refusal is a [`Problem`]. What a body, a header or a handler has to do with the application stands in it; what
//! has to do with the inside of the cluster is logged and left out.

mod health;
mod idempotency_key;
mod json;
mod problem;
mod problems;
mod ready;

pub use self::{
    health::{Health, health},
    idempotency_key::{IdempotencyKey, MAX_KEY},
    json::{BODY_TIMEOUT, Json, MAX_BODY},
    problem::Problem,
    problems::problems,
    ready::ready,
};
