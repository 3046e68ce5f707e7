//! Makes problems of the refusals that axum writes as plain text: unknown paths, wrong methods, unreadable paths.

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};

use super::problem::Problem;

/// The longest refusal of another layer that is quoted.
const MAX_QUOTED: usize = 1_024;

/// Makes every refusal of these routes a JSON problem, also those of axum itself: 404 for an unknown path, 405 with
/// `Allow` for a wrong method. Responses that have a JSON body stay as they are.
///
/// ```
/// use axum::{Router, routing::get};
///
/// let routes: Router = catga::http::problems(Router::new().route("/", get(|| async { "here" })));
/// ```
pub fn problems<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes.layer(from_fn(async |request: Request, next: Next| {
        let method = request.method().clone();
        let response = next.run(request).await;
        let refused = response.status().is_client_error() || response.status().is_server_error();
        if !refused || is_json(response.headers()) {
            return response;
        }
        told(response, &method).await
    }))
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().ends_with(b"json"))
}

/// The same refusal as a problem; headers such as `Allow` stay.
async fn told(response: Response, method: &Method) -> Response {
    let (mut parts, body) = response.into_parts();
    let status = parts.status;
    let problem = match status {
        StatusCode::NOT_FOUND => Problem::new(status, "unknown_path", "nothing is served at this path"),
        // axum adds the header further out, where it is not known yet what it will be.
        StatusCode::METHOD_NOT_ALLOWED => {
            let detail = format!("{method} is not served at this path; the header `Allow` says what is");
            Problem::new(status, "method_not_allowed", detail)
        }
        _ => Problem::new(status, "refused", quoted(status, body).await),
    };
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    (parts.headers, problem).into_response()
}

/// What another layer wrote for the client, if that was a short text.
async fn quoted(status: StatusCode, body: Body) -> String {
    let text = to_bytes(body, MAX_QUOTED).await.ok().and_then(|bytes| String::from_utf8(bytes.into()).ok());
    text.filter(|text| !text.is_empty() && status.is_client_error())
        .unwrap_or_else(|| "the request was refused".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use axum::{extract::Path, routing::get};
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    async fn answer(method: &str, path: &str) -> (StatusCode, HeaderMap, Value) {
        let fails = || async { (StatusCode::INTERNAL_SERVER_ERROR, "password = hunter2") };
        let routes = Router::new()
            .route("/orders", get(|| async { "orders" }).post(|| async { "placed" }))
            .route("/fails", get(fails))
            .route("/orders/{id}", get(|Path(id): Path<u32>| async move { id.to_string() }));
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = problems(routes).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        (parts.status, parts.headers, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn an_unknown_path_is_a_problem() {
        let (status, headers, body) = answer("GET", "/nowhere").await;
        assert_eq!((status.as_u16(), &body["code"]), (404, &"unknown_path".into()));
        assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(body["detail"], "nothing is served at this path");
    }

    #[tokio::test]
    async fn a_wrong_method_is_a_problem_that_says_what_is_allowed() {
        let (status, headers, body) = answer("DELETE", "/orders").await;
        assert_eq!((status.as_u16(), &body["code"]), (405, &"method_not_allowed".into()));
        assert_eq!(headers[header::ALLOW], "GET,HEAD,POST");
    }

    #[tokio::test]
    async fn a_path_that_cannot_be_read_is_a_problem_that_says_why() {
        let (status, _, body) = answer("GET", "/orders/seven").await;
        assert_eq!(status.as_u16(), 400);
        assert!(body["detail"].as_str().unwrap().contains("seven"), "{body}");
    }

    #[tokio::test]
    async fn the_text_of_a_server_error_is_not_passed_on() {
        let (status, _, body) = answer("GET", "/fails").await;
        assert_eq!(status.as_u16(), 500);
        assert!(!body.to_string().contains("hunter2"), "{body}");
    }

    #[tokio::test]
    async fn what_succeeds_stays_as_it_is() {
        let (status, headers, _) = answer("GET", "/orders").await;
        assert_eq!(status.as_u16(), 200);
        assert_eq!(headers[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    }
}
