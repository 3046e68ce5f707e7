//! The least of the NATS protocol: to publish, to ask, and to read what the server says.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use xtask::nats::Server;

/// How long a server may think.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to a server.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    /// Connects with these options, JSON after the usual ones: `,"user":"a"`.
    pub(crate) fn connect_with(server: &Server, options: &str) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
        let mut client = Self(BufReader::new(stream));
        assert!(client.line().starts_with("INFO "), "a server introduces itself");
        client.write(&format!("CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true{options}}}\r\n"));
        client
    }

    pub(crate) fn connect(server: &Server) -> Self {
        let mut client = Self::connect_with(server, "");
        client.write("PING\r\n");
        assert_eq!(client.line(), "PONG");
        client
    }

    pub(crate) fn write(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).expect("the server reads");
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> String {
        self.try_line().expect("the server says something")
    }

    /// The next line; none if there is nothing within a time.
    pub(crate) fn line_within(&mut self, limit: Duration) -> Option<String> {
        self.0.get_ref().set_read_timeout(Some(limit)).expect("a time-out can be set");
        let line = self.try_line();
        self.0.get_ref().set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
        line
    }

    fn try_line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned())
    }

    /// Sends a request, and gives the payload of its reply.
    pub(crate) fn request(&mut self, subject: &str, payload: &str) -> String {
        self.request_within(PATIENCE, subject, payload).expect("the server replies")
    }

    /// The same; none if there is no reply in time.
    fn request_within(&mut self, limit: Duration, subject: &str, payload: &str) -> Option<String> {
        self.write("SUB _INBOX.here 1\r\n");
        self.write(&format!("PUB {subject} _INBOX.here {}\r\n{payload}\r\n", payload.len()));
        let head = loop {
            let line = self.line_within(limit)?;
            if line.contains("MSG _INBOX.here") {
                break line;
            }
            assert!(line.starts_with("PING") || line.starts_with("INFO"), "`{line}` is no reply");
        };
        let size: usize = head.split(' ').next_back().and_then(|size| size.parse().ok()).expect("a message has a size");
        let mut bytes = vec![0; size + 2];
        self.0.read_exact(&mut bytes).expect("a message is whole");
        self.write("UNSUB 1\r\n");
        Some(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    /// Makes a stream that keeps what is sent to `kept`.
    pub(crate) fn create_stream(&mut self, replicas: usize) {
        let config = format!(
            r#"{{"name":"KEPT","subjects":["kept"],"retention":"limits","storage":"file","num_replicas":{replicas}}}"#
        );
        let reply = self.request("$JS.API.STREAM.CREATE.KEPT", &config);
        assert!(reply.contains(r#""name":"KEPT""#), "{reply}");
    }

    /// Stores a message there.
    pub(crate) fn store(&mut self) {
        let reply = self.request("kept", "tea");
        assert!(reply.contains(r#""stream":"KEPT""#), "{reply}");
    }

    /// How many there are.
    pub(crate) fn stored(&mut self) -> String {
        self.stored_within(PATIENCE).expect("the stream answers")
    }

    /// The same; none if nobody answers for the stream in time.
    pub(crate) fn stored_within(&mut self, limit: Duration) -> Option<String> {
        let reply = self.request_within(limit, "$JS.API.STREAM.INFO.KEPT", "")?;
        let count = reply.split(r#""messages":"#).nth(1).and_then(|rest| rest.split(',').next());
        Some(count.unwrap_or(&reply).to_owned())
    }
}
