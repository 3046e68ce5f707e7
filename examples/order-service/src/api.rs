//! The HTTP interface of a node: `POST /orders`, `GET /orders/{id}`, `GET /health`, `GET /ready`.

use std::{collections::HashSet, num::NonZeroU32, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State, rejection::PathRejection},
    http::{StatusCode, header::LOCATION},
    response::IntoResponse,
    routing::{get, post},
};
use catga::{
    Error, Mediator, SendOptions,
    http::{self, IdempotencyKey, Problem},
};
use serde::Deserialize;

use crate::messages::{CreateOrder, FindOrder, Order, OrderId};

/// An order is small; whoever sends more made a mistake, or wants to do harm.
const MAX_BODY: usize = 4 * 1024;

/// How long another node may think about an order that it may know.
const FIND_TIMEOUT: Duration = Duration::from_secs(2);

pub fn routes(mediator: Mediator) -> Router {
    let routes = Router::new()
        .route("/orders", post(create))
        .route("/orders/{id}", get(find))
        .with_state(mediator.clone())
        .merge(http::health(mediator.clone()))
        .merge(http::ready(mediator));
    http::problems(routes)
}

/// What a client sends. Its types refuse what makes no sense, and serde says why.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewOrder {
    product_id: ProductId,
    quantity: NonZeroU32,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct ProductId(String);

impl TryFrom<String> for ProductId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let fits = (1..=100).contains(&text.chars().count()) && !text.trim().is_empty();
        if fits { Ok(Self(text)) } else { Err("productId must be 1 to 100 characters, and not only spaces") }
    }
}

async fn create(
    State(mediator): State<Mediator>,
    key: IdempotencyKey,
    http::Json(order): http::Json<NewOrder, MAX_BODY>,
) -> Result<impl IntoResponse, Error> {
    let command = CreateOrder { product_id: order.product_id.0, quantity: order.quantity };
    let placed = mediator.send_with(command, key.into()).await?;

    let location = format!("/orders/{}", placed.order_id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(placed)))
}

/// Asks this node, then the one that took the order, then the others: a node that was started again has forgotten what
/// the others remember.
async fn find(
    State(mediator): State<Mediator>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Order>, Problem> {
    let Ok(Path(id)) = id else { return Err(malformed()) };
    let Ok(id) = id.parse::<OrderId>() else { return Err(unknown()) };
    let (here, taker) = (mediator.node(), id.node());
    let online = mediator.cluster().nodes().into_iter().filter(|node| node.online).map(|node| node.id);

    let mut asked = HashSet::new();
    let mut verdict = unknown();
    for node in [here, taker].map(str::to_owned).into_iter().chain(online) {
        if !asked.insert(node.clone()) {
            continue;
        }
        match ask(&mediator, &node, &id).await {
            Ok(Some(order)) => return Ok(Json(order)),
            Ok(None) => {}
            Err(error) if node == here => return Err(error.into()),
            Err(_) if node == taker => verdict = away(&id),
            Err(_) => {}
        }
    }
    Err(verdict)
}

async fn ask(mediator: &Mediator, node: &str, id: &OrderId) -> Result<Option<Order>, Error> {
    let options = SendOptions { node: Some(node.to_owned()), timeout: Some(FIND_TIMEOUT), ..SendOptions::default() };
    mediator.send_with(FindOrder(id.clone()), options).await
}

fn malformed() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed_path", "the id of the order is not text in UTF-8")
}

fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown_order", "there is no order of this id")
}

fn away(id: &OrderId) -> Problem {
    let detail = format!("this order is not known here, and {}, which took it, is away", id.node());
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "node_away", detail)
}
