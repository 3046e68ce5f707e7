//! The smallest HTTP client: one request, one connection.

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
};

use serde_json::Value;

use crate::service::PATIENCE;

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    head: String,
    pub text: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &'_ str| line.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(name));
        let line = self.head.lines().find(|line| named(line))?;
        line.split_once(':').map(|(_, value)| value.trim())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The member of the body with this name, a text.
    #[track_caller]
    pub fn text_of(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_else(|| panic!("no {member} in {self:?}")).to_owned()
    }

    /// Checks that this is a problem, and gives its detail.
    #[track_caller]
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(self.json()["status"], status, "{self:?}");
        assert!(!self.text_of("title").is_empty() && !self.text_of("code").is_empty(), "{self:?}");
        self.text_of("detail")
    }
}

/// Sends a request and waits for the response.
pub fn try_send(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Response> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    if !body.is_empty() {
        write!(head, "Content-Length: {}\r\n", body.len()).unwrap();
    }
    let mut stream = connect(port)?;
    stream.write_all(&[head.as_bytes(), b"\r\n", body].concat())?;
    read(stream)
}

#[track_caller]
pub fn send(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    try_send(port, method, path, headers, body.as_bytes())
        .unwrap_or_else(|error| panic!("{method} {path} on port {port}: {error}"))
}

#[track_caller]
pub fn get(port: u16, path: &str) -> Response {
    send(port, "GET", path, &[], "")
}

pub const JSON: (&str, &str) = ("Content-Type", "application/json");

#[track_caller]
pub fn post(port: u16, body: &str) -> Response {
    send(port, "POST", "/orders", &[JSON], body)
}

/// Sends an order for tea and gives its id.
#[track_caller]
pub fn order_tea(port: u16) -> String {
    let response = post(port, r#"{"productId":"tea","quantity":2}"#);
    assert_eq!(response.status, 201, "{response:?}");
    response.text_of("orderId")
}

pub fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads a response to the end of its connection.
pub fn read(mut stream: TcpStream) -> io::Result<Response> {
    let mut bytes = Vec::new();
    // A server that refuses a body early resets the connection once its response is out.
    if let Err(error) = stream.read_to_end(&mut bytes)
        && bytes.is_empty()
    {
        return Err(error);
    }
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(head.to_owned()))?;
    Ok(Response { status, head: head.to_owned(), text: body.to_owned() })
}
