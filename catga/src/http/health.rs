//! `GET /health`: this node and the others, as this node sees them.

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;

use crate::{cluster::NodeInfo, id::now_millis, mediator::Mediator};

/// Serves `GET /health`: 200 with [`Health`] while the node takes work, 503 with the same body once it shuts down.
///
/// ```
/// # use catga::{Mediator, http};
/// fn routes(mediator: Mediator) -> axum::Router {
///     axum::Router::new().merge(http::health(mediator))
/// }
/// ```
pub fn health<S: Clone + Send + Sync + 'static>(mediator: Mediator) -> Router<S> {
    Router::new().route("/health", get(async move || Health::of(&mediator)))
}

/// A node and the cluster as it sees it, in the form that `GET /health` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Health {
    /// The node that was asked.
    pub current_node: CurrentNode,
    /// How many nodes it knows, itself included.
    pub total_nodes: usize,
    /// How many of them are online.
    pub online_nodes: usize,
    /// All of them, by id.
    pub nodes: Vec<KnownNode>,
}

/// The node that was asked for its health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CurrentNode {
    /// The node's id.
    pub node_id: String,
    /// Where it serves, if it says so.
    pub endpoint: Option<String>,
    /// The time of the answer, by RFC 3339 in UTC: a node sees itself now.
    pub last_seen: String,
    /// Handlers that run or wait on it.
    pub load: u64,
    /// Whether it takes work.
    pub is_online: bool,
}

/// A node that the one that was asked knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct KnownNode {
    /// The node's id.
    pub node_id: String,
    /// Where it serves, if it says so.
    pub endpoint: Option<String>,
    /// Whether it was heard of within the time-out.
    pub is_online: bool,
}

impl Health {
    /// The health of a node at this moment.
    pub fn of(mediator: &Mediator) -> Self {
        let open = mediator.check_open().is_ok();
        let mut nodes = mediator.cluster().nodes();
        for node in nodes.iter_mut().filter(|node| node.id == mediator.node()) {
            node.online &= open;
        }
        let own = nodes.iter().find(|node| node.id == mediator.node());
        Self {
            current_node: CurrentNode {
                node_id: mediator.node().to_owned(),
                endpoint: own.and_then(|node| node.endpoint.clone()),
                last_seen: rfc_3339(now_millis()),
                load: mediator.node.handlers.occupied() as u64,
                is_online: open,
            },
            total_nodes: nodes.len(),
            online_nodes: nodes.iter().filter(|node| node.online).count(),
            nodes: nodes.into_iter().map(KnownNode::from).collect(),
        }
    }
}

impl From<NodeInfo> for KnownNode {
    fn from(node: NodeInfo) -> Self {
        Self { node_id: node.id, endpoint: node.endpoint, is_online: node.online }
    }
}

impl IntoResponse for Health {
    fn into_response(self) -> Response {
        let status = match self.current_node.is_online {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        // What is seen now is not true for long.
        (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(self)).into_response()
    }
}

/// A time in milliseconds since 1970 as RFC 3339 writes it, such as `2026-02-28T23:59:59.999Z`.
fn rfc_3339(millis: u64) -> String {
    let (seconds, millis) = (millis / 1_000, millis % 1_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Days since 1970-01-01 as year, month and day of the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years that begin in March have the leap day at their end. 400 of them have 146,097 days, and 0000-03-01 was
    // 719,468 days before 1970.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    // The leap days of the era so far: one in 4 years, but not in 100, but in 400.
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // From March, five months have 153 days: 31, 30, 31, 30, 31.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * era + year + next, month, day)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use axum::{body::Body, http::Request};
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    async fn ask(mediator: &Mediator) -> (StatusCode, Value) {
        let request = Request::get("/health").body(Body::empty()).unwrap();
        let response = health::<()>(mediator.clone()).oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn health_shows_this_node_and_the_others() {
        let node = Mediator::builder().discover(false).node("node1").endpoint("http://localhost:5001");
        let mediator = node.build().await.unwrap();
        let (status, body) = ask(&mediator).await;
        assert_eq!(status, StatusCode::OK);
        let seen = &body["currentNode"]["lastSeen"];
        let expected = serde_json::json!({
            "currentNode": {
                "nodeId": "node1", "endpoint": "http://localhost:5001", "lastSeen": seen, "load": 0, "isOnline": true,
            },
            "totalNodes": 1,
            "onlineNodes": 1,
            "nodes": [{ "nodeId": "node1", "endpoint": "http://localhost:5001", "isOnline": true }],
        });
        assert_eq!(body, expected);
        mediator.shutdown().await.unwrap();
        let (status, body) = ask(&mediator).await;
        assert_eq!((status, &body["onlineNodes"]), (StatusCode::SERVICE_UNAVAILABLE, &0.into()));
    }

    #[test]
    fn times_are_written_as_rfc_3339_in_utc() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_735_689_599_001, "2024-12-31T23:59:59.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc_3339(millis), text);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = civil(0);
        for days in 1..300_000 {
            let (year, month, day) = civil(days);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let long = |month| match month {
                2 => 28 + u64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let next = match before {
                (y, 12, 31) => (y + 1, 1, 1),
                (y, m, d) if d == long(m) => (y, m + 1, 1),
                (y, m, d) => (y, m, d + 1),
            };
            assert_eq!((year, month, day), next);
            before = next;
        }
    }
}
