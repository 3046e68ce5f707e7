//! The HTTP door, for axum: errors as JSON problems, JSON bodies, `Idempotency-Key`, `/health` and `/ready`.
//!
//! ```
//! use axum::{Router, extract::State, http::StatusCode, routing::post};
//! use catga::{Command, Mediator, http};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Command, Clone, Serialize, Deserialize)]
//! #[response(u64)]
//! struct PlaceOrder { sku: String }
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
//! # fn main() {}
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
