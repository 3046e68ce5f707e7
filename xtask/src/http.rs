//! The least of HTTP/1.1 that talks to a service on this machine.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use crate::shell::Result;

/// How long a connection may take to open, and an answer to come: longer than any deadline of the service.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the service answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// What follows the head, as it was sent.
    pub body: String,
}

/// What is asked of the service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request<'a> {
    /// Such as `GET`.
    pub method: &'a str,
    /// From the first slash on.
    pub path: &'a str,
    /// Headers as lines: `Name: value`.
    pub headers: Vec<&'a str>,
    /// As it is sent; may be empty.
    pub body: &'a str,
}

/// Asks for what is at a path.
///
/// # Errors
///
/// If nobody answers in HTTP. An answer of any status is no error.
pub fn get(port: u16, path: &str) -> Result<Answer> {
    send(port, &Request { method: "GET", path, ..Request::default() })
}

/// Sends a request over a connection of its own.
///
/// # Errors
///
/// As [`get`].
pub fn send(port: u16, request: &Request<'_>) -> Result<Answer> {
    exchange(port, request).map_err(|error| format!("{} {} on port {port}: {error}", request.method, request.path))
}

fn exchange(port: u16, request: &Request<'_>) -> std::io::Result<Answer> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let Request { method, path, headers, body } = request;
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    // In one piece: a head that arrives alone would wait for the acknowledgement of the network.
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n{headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    parse(&answer).ok_or_else(|| std::io::Error::other(format!("an answer that is not HTTP: `{answer}`")))
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

impl Answer {
    /// A field of the JSON object in the body that holds a text or a number, wherever it stands first.
    pub fn field(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.body.split_once(&format!("\"{name}\":"))?;
        let rest = rest.trim_start();
        match rest.strip_prefix('"') {
            Some(text) => text.split('"').next(),
            None => rest.split([',', '}', ']']).next().map(str::trim_end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let answer = parse("HTTP/1.1 201 Created\r\nx: y\r\n\r\n{\"orderId\":\"a-1\",\"total\": 3 }");
        let answer = answer.expect("it is HTTP");
        assert_eq!((answer.status, answer.field("orderId"), answer.field("total")), (201, Some("a-1"), Some("3")));
        assert_eq!(answer.field("absent"), None);
    }
}
