//! Bad input is refused with a 4xx problem that says what is wrong, and harms nothing.

use std::io::Write;

use crate::{
    client::{self, JSON, connect, get, order_tea, post, send},
    service::Service,
};

#[test]
fn a_body_that_makes_no_sense_is_refused_with_the_reason() {
    let service = Service::start_one();
    for (body, status, reason) in [
        ("", 400, "empty"),
        ("{", 400, "line 1 column 1"),
        ("{\"productId\":\"tea\",\"quantity\":2", 400, "line 1"),
        ("{\"productId\":\"tea\",\"quantity\":2}x", 400, "trailing characters"),
        ("\u{0}\u{1}garbage", 400, "not JSON"),
        ("{}", 422, "missing field `productId`"),
        (r#"{"productId":"tea"}"#, 422, "missing field `quantity`"),
        (r#"{"quantity":2}"#, 422, "missing field `productId`"),
        (r#"{"productId":"tea","quantity":0}"#, 422, "nonzero"),
        (r#"{"productId":"tea","quantity":-1}"#, 422, "`-1`"),
        (r#"{"productId":"tea","quantity":4294967296}"#, 422, "`4294967296`"),
        (r#"{"productId":"tea","quantity":1.5}"#, 422, "`1.5`"),
        (r#"{"productId":"tea","quantity":"2"}"#, 422, "\"2\""),
        (r#"{"productId":"tea","quantity":null}"#, 422, "null"),
        (r#"{"productId":7,"quantity":2}"#, 422, "expected a string"),
        (r#"{"productId":"","quantity":2}"#, 422, "productId must be"),
        (r#"{"productId":"  ","quantity":2}"#, 422, "productId must be"),
        (r#"{"productId":"tea","quantity":2,"colour":"red"}"#, 422, "unknown field `colour`"),
        (r#"{"productId":"tea","quantity":2,"quantity":3}"#, 422, "duplicate field `quantity`"),
        ("[]", 422, "invalid length"),
        ("7", 422, "`7`"),
    ] {
        let detail = post(service.ports[0], body).problem(status);
        assert!(detail.contains(reason), "{body}: {detail}");
    }
    let detail = post(service.ports[0], &format!("{{\"productId\":\"{}\",\"quantity\":2}}", "x".repeat(101)));
    assert!(detail.problem(422).contains("1 to 100 characters"));
}

#[test]
fn a_body_that_is_too_large_is_refused_declared_or_chunked() {
    let service = Service::start_one();
    let body = format!("{{\"productId\":\"{}\",\"quantity\":2}}", "x".repeat(5_000));
    assert!(post(service.ports[0], &body).problem(413).contains("4096 bytes"));

    let mut stream = connect(service.ports[0]).unwrap();
    let head = "POST /orders HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    stream.write_all(chunked.as_bytes()).unwrap();
    client::read(stream).unwrap().problem(413);
}

#[test]
fn another_content_type_is_refused() {
    let service = Service::start_one();
    for headers in
        [&[][..], &[("Content-Type", "text/plain")], &[("Content-Type", "application/x-www-form-urlencoded")]]
    {
        let detail =
            send(service.ports[0], "POST", "/orders", headers, r#"{"productId":"tea","quantity":2}"#).problem(415);
        assert!(detail.contains("application/json"), "{detail}");
    }
}

#[test]
fn a_wrong_method_is_refused_with_those_that_are_allowed() {
    let service = Service::start_one();
    for (method, path, allowed) in [
        ("GET", "/orders", "POST"),
        ("PUT", "/orders", "POST"),
        ("DELETE", "/orders/7", "GET,HEAD"),
        ("POST", "/health", "GET,HEAD"),
        ("BREW", "/orders", "POST"),
    ] {
        let response = send(service.ports[0], method, path, &[], "");
        assert!(response.problem(405).starts_with(method), "{response:?}");
        assert_eq!(response.header("allow"), Some(allowed));
    }
}

#[test]
fn an_unknown_path_is_refused() {
    let service = Service::start_one();
    for path in ["/", "/order", "/orders/", "/orders/7/items", "/health/", "/%ff"] {
        get(service.ports[0], path).problem(404);
    }
    for path in ["/orders/%ff", "/orders/%00%ff"] {
        let response = get(service.ports[0], path);
        assert_eq!(response.problem(400), "the id of the order is not text in UTF-8", "{path}");
        assert_eq!(response.text_of("code"), "malformed_path");
    }
}

#[test]
fn a_malformed_idempotency_key_is_refused() {
    let service = Service::start_one();
    let long = "k".repeat(256);
    for keys in [&[""][..], &["a b"], &["ü"], &[&*long], &["a", "a"]] {
        let headers: Vec<_> = [JSON].into_iter().chain(keys.iter().map(|key| ("Idempotency-Key", *key))).collect();
        let response = send(service.ports[0], "POST", "/orders", &headers, r#"{"productId":"tea","quantity":2}"#);
        assert!(response.problem(400).contains("Idempotency-Key"), "{keys:?}");
    }
}

#[test]
fn what_is_not_http_harms_nobody() {
    let service = Service::start_one();
    // Kept open: neither half a request nor silence holds anybody up.
    let silent = connect(service.ports[0]).unwrap();
    let mut half = connect(service.ports[0]).unwrap();
    half.write_all(
        b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
    )
    .unwrap();
    for garbage in
        [&b"\x16\x03\x01\x02\x00"[..], b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", &[0xff; 70_000]]
    {
        // It may be refused before it is written whole.
        drop(connect(service.ports[0]).unwrap().write_all(garbage));
    }
    order_tea(service.ports[0]);
    drop((silent, half));
}
