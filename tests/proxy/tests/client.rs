//! The least of a NATS client: it writes lines, and reads what it is sent.

use std::{io, net::SocketAddr, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::proxy::protocol::{Frame, Message, next_frame};

/// How long something may take that must come.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long is waited for what must not come.
const SILENCE: Duration = Duration::from_millis(300);

pub(super) struct Client {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Client {
    /// Connects, and waits until the server knows of it.
    pub(super) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let mut client = Self { stream: TcpStream::connect(address).await?, buffer: BytesMut::new() };
        client.write("CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nPING\r\n").await;
        while client.next().await?.bytes != "PONG\r\n" {}
        Ok(client)
    }

    pub(super) async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// The next piece; an error when the connection has ended.
    pub(super) async fn next(&mut self) -> io::Result<Frame> {
        timeout(PATIENCE, async {
            loop {
                if let Some(frame) = next_frame(&mut self.buffer)? {
                    return Ok(frame);
                }
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        })
        .await
        .expect("it takes too long")
    }

    /// The next message; lines between are passed over.
    pub(super) async fn message(&mut self) -> Message {
        loop {
            if let Some(message) = self.next().await.unwrap().message {
                return message;
            }
        }
    }

    /// Whether nothing comes for a while.
    pub(super) async fn is_silent(&mut self) -> bool {
        timeout(SILENCE, self.next()).await.is_err()
    }

    /// A round trip.
    pub(super) async fn ping(&mut self) {
        self.write("PING\r\n").await;
        assert_eq!(self.next().await.unwrap().bytes, "PONG\r\n");
    }

    pub(super) async fn publish(&mut self, subject: &str, reply: &str, payload: &str) {
        self.write(&format!("PUB {subject} {reply} {}\r\n{payload}\r\n", payload.len())).await;
    }

    /// Sends a request, and gives the payload of the reply.
    pub(super) async fn request(&mut self, subject: &str, payload: &str) -> String {
        self.write("SUB _INBOX.ask 9\r\n").await;
        self.publish(subject, "_INBOX.ask", payload).await;
        let reply = self.message().await;
        assert_eq!(reply.subject, "_INBOX.ask");
        self.write("UNSUB 9\r\n").await;
        String::from_utf8(reply.payload.to_vec()).unwrap()
    }
}
