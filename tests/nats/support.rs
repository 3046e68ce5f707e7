//! A server for each test, and nodes on it.

use std::time::Duration;

use catga::{Builder, Limits, Mediator, transport::Nats};
use catga_tests::Log;
use xtask::nats::{Server, ServerOptions};

/// A server of its own.
pub fn server() -> Server {
    Server::start(&ServerOptions::default()).unwrap()
}

/// Limits under which a test need not wait for long.
pub fn limits() -> Limits {
    Limits { ack_wait: Duration::from_secs(1), backoff: Duration::from_millis(50), ..Limits::default() }
}

/// A node without handlers.
pub async fn node(server: &Server, id: &str, log: &Log) -> Builder {
    node_at(&server.url(), id, log).await
}

/// A node without handlers that reaches its server at this address.
pub async fn node_at(url: &str, id: &str, log: &Log) -> Builder {
    Mediator::builder()
        .transport(Nats::connect(url).await.unwrap())
        .node(id)
        .limits(limits())
        .discover(false)
        .state(log.clone())
}

/// The bare client.
pub async fn bare(server: &Server) -> async_nats::Client {
    async_nats::connect(server.url()).await.unwrap()
}

/// Waits until the server has read everything that this client sent: flushing hands it to the system alone.
pub async fn heard(client: &async_nats::Client) {
    client.request("$SYS.REQ.USER.INFO", "".into()).await.unwrap();
}

/// Waits until a count is reached, and a little longer for what would be too much.
pub async fn reaches(what: impl Fn() -> usize, expected: usize) {
    let wait = async {
        while what() < expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(120), wait).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(what(), expected);
}

/// How many lines of a log contain a text.
pub fn lines(log: &Log, text: &str) -> usize {
    log.lines().iter().filter(|line| line.contains(text)).count()
}
