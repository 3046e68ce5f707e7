//! `/ready`: whether a node can take work, for whoever decides where work goes.

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use super::problem::Problem;
use crate::{
    error::{Error, ErrorKind},
    mediator::Mediator,
};

/// Serves `GET /ready`: 200 while the node [can take work](Mediator::ready), 503 with a [`Problem`] that says why not.
///
/// Its `code` is `shutting_down`, `replaced`, `not_connected` or `not_permitted`. Addresses and subjects are not shown, only logged.
///
/// ```
/// # use catga::{Mediator, http};
/// fn routes(mediator: Mediator) -> axum::Router {
///     axum::Router::new().merge(http::ready(mediator))
/// }
/// ```
pub fn ready<S: Clone + Send + Sync + 'static>(mediator: Mediator) -> Router<S> {
    Router::new().route("/ready", get(async move || answer(mediator.ready())))
}

fn answer(ready: Result<(), Error>) -> Response {
    // What is true now is not for long.
    let fresh = [(header::CACHE_CONTROL, "no-store")];
    let Err(error) = ready else { return (fresh, axum::Json(json!({ "ready": true }))).into_response() };
    let (code, detail) = match error.kind() {
        ErrorKind::ShuttingDown => ("shutting_down", "this node is shutting down"),
        ErrorKind::Replaced => ("replaced", "another node has taken the id of this one"),
        ErrorKind::Configuration => ("not_permitted", "the server refuses something that this node needs"),
        _ => ("not_connected", "this node has no connection to the others"),
    };
    tracing::debug!(target: "catga::http", %error, code, "not ready");
    (fresh, Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use axum::{body::Body, http::Request};
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    async fn body(response: Response) -> (StatusCode, Value) {
        let status = response.status();
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_node_is_ready_until_it_shuts_down() {
        let mediator = Mediator::builder().discover(false).build().await.unwrap();
        let ask = async || {
            let request = Request::get("/ready").body(Body::empty()).unwrap();
            body(ready::<()>(mediator.clone()).oneshot(request).await.unwrap()).await
        };
        assert_eq!(ask().await, (StatusCode::OK, json!({ "ready": true })));
        mediator.shutdown().await.unwrap();
        let (status, problem) = ask().await;
        assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &"shutting_down".into()));
    }

    #[tokio::test]
    async fn the_reason_is_told_without_the_inside_of_the_cluster() {
        for (kind, code) in [(ErrorKind::Transport, "not_connected"), (ErrorKind::Configuration, "not_permitted")] {
            let (status, problem) = body(answer(Err(Error::not_started(kind, "10.0.0.1:4222")))).await;
            assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &code.into()));
            assert!(!problem.to_string().contains("10.0.0.1"), "{problem}");
        }
    }
}
