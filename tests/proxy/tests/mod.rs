//! The proxy before a real server: what passes, what is held back, what is lost and what comes twice.

mod client;

use std::time::{Duration, Instant};

use xtask::nats::{Server, ServerOptions};

use self::client::Client;
use super::{Direction, Message, Proxy, Rule};

/// How long a delivery waits for its acknowledgement.
const ACK_WAIT: Duration = Duration::from_millis(500);

async fn start() -> (Server, Proxy) {
    let server = Server::start(&ServerOptions::default()).unwrap();
    let proxy = Proxy::start(server.port()).await.unwrap();
    (server, proxy)
}

/// A client with a stream, `KEPT`, and a consumer of it, `one`.
async fn with_consumer(proxy: &Proxy) -> Client {
    let mut client = Client::connect(proxy.address()).await.unwrap();
    let stream = client.request("$JS.API.STREAM.CREATE.KEPT", r#"{"name":"KEPT","subjects":["kept"]}"#).await;
    assert!(stream.contains(r#""name":"KEPT""#), "{stream}");
    let consumer = format!(
        r#"{{"stream_name":"KEPT","config":{{"durable_name":"one","ack_policy":"explicit","ack_wait":{}}}}}"#,
        ACK_WAIT.as_nanos()
    );
    let consumer = client.request("$JS.API.CONSUMER.CREATE.KEPT.one", &consumer).await;
    assert!(consumer.contains(r#""name":"one""#), "{consumer}");
    client
}

/// Asks for deliveries, which come to the client as they are there.
async fn pull(client: &mut Client, batch: usize) {
    client.write("SUB _INBOX.pull 2\r\n").await;
    let ask = format!(r#"{{"batch":{batch},"expires":20000000000}}"#);
    client.publish("$JS.API.CONSUMER.MSG.NEXT.KEPT.one", "_INBOX.pull", &ask).await;
}

fn is_acknowledgement(message: &Message) -> bool {
    message.subject.starts_with("$JS.ACK.")
}

fn is_delivery(message: &Message) -> bool {
    message.reply.as_ref().is_some_and(|reply| reply.starts_with("$JS.ACK."))
}

/// How many deliveries wait for their acknowledgement, as the server says it.
async fn unacknowledged(client: &mut Client) -> Option<u64> {
    let info = client.request("$JS.API.CONSUMER.INFO.KEPT.one", "").await;
    serde_json::from_str::<serde_json::Value>(&info).unwrap()["num_ack_pending"].as_u64()
}

#[tokio::test]
async fn what_both_sides_say_passes_unchanged() {
    let (_server, proxy) = start().await;
    let mut client = Client::connect(proxy.address()).await.unwrap();
    client.write("SUB a 1\r\n").await;
    let large = "MSG a 1 3\r\n".repeat(50_000);
    client.publish("a", "", &large).await;
    assert_eq!(client.message().await.payload, large);
    // In two pieces, cut inside of the head.
    client.write("HPUB a back 1").await;
    client.write("8 21\r\nNATS/1.0\r\nA: b\r\n\r\ntea\r\n").await;
    let message = client.next().await.unwrap();
    assert_eq!(message.bytes, "HMSG a 1 back 18 21\r\nNATS/1.0\r\nA: b\r\n\r\ntea\r\n");
}

#[tokio::test]
async fn a_cut_ends_all_connections_and_takes_new_ones() {
    let (_server, proxy) = start().await;
    let mut clients =
        [Client::connect(proxy.address()).await.unwrap(), Client::connect(proxy.address()).await.unwrap()];
    assert_eq!(proxy.connections(), 2);
    proxy.cut().await;
    assert_eq!(proxy.connections(), 0);
    for client in &mut clients {
        let error = client.next().await.err().map(|error| error.kind());
        assert_eq!(error, Some(std::io::ErrorKind::ConnectionReset));
    }
    Client::connect(proxy.address()).await.unwrap().ping().await;
}

#[tokio::test]
async fn a_proxy_that_refuses_keeps_what_is_open() {
    let (_server, proxy) = start().await;
    let mut client = Client::connect(proxy.address()).await.unwrap();
    proxy.refuse();
    assert!(Client::connect(proxy.address()).await.is_err());
    client.ping().await;
    proxy.admit();
    Client::connect(proxy.address()).await.unwrap().ping().await;
}

#[tokio::test]
async fn a_server_that_is_away_ends_connections_and_comes_back() {
    let (mut server, proxy) = start().await;
    let mut client = Client::connect(proxy.address()).await.unwrap();
    server.kill();
    while client.next().await.is_ok() {}
    assert!(Client::connect(proxy.address()).await.is_err());
    server.restart().unwrap();
    Client::connect(proxy.address()).await.unwrap().ping().await;
}

#[tokio::test]
async fn what_is_sent_into_a_frozen_network_arrives_when_it_is_thawed() {
    let (server, proxy) = start().await;
    let mut here = Client::connect(proxy.address()).await.unwrap();
    let mut there = Client::connect(([127, 0, 0, 1], server.port()).into()).await.unwrap();
    for (client, subject) in [(&mut here, "here"), (&mut there, "there")] {
        client.write(&format!("SUB {subject} 1\r\n")).await;
        client.ping().await;
    }
    proxy.freeze();
    here.publish("there", "", "1").await;
    there.publish("here", "", "2").await;
    assert!(here.is_silent().await && there.is_silent().await);
    assert_eq!(proxy.connections(), 1);
    proxy.thaw();
    assert_eq!((here.message().await.payload, there.message().await.payload), ("2".into(), "1".into()));

    proxy.freeze();
    here.publish("there", "", "3").await;
    proxy.cut().await;
    proxy.thaw();
    assert!(there.is_silent().await, "what was under way on a connection that is cut is lost");
}

#[tokio::test]
async fn a_delay_counts_in_both_directions_and_does_not_add_up() {
    let (_server, proxy) = start().await;
    let mut client = Client::connect(proxy.address()).await.unwrap();
    proxy.delay(Duration::from_millis(100));
    let started = Instant::now();
    client.write(&"PING\r\n".repeat(50)).await;
    for _ in 0..50 {
        assert_eq!(client.next().await.unwrap().bytes, "PONG\r\n");
    }
    let took = started.elapsed();
    assert!((200..2_000).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn what_is_late_is_overtaken() {
    let (_server, proxy) = start().await;
    let mut client = Client::connect(proxy.address()).await.unwrap();
    let first = |message: &Message| message.payload == "1";
    let late = proxy.add(Rule::delay(Direction::ToClient, first, Duration::from_millis(200)));
    client.write("SUB a 1\r\n").await;
    let started = Instant::now();
    client.publish("a", "", "1").await;
    client.publish("a", "", "2").await;
    assert_eq!((client.message().await.payload, client.message().await.payload), ("2".into(), "1".into()));
    assert!(started.elapsed() >= Duration::from_millis(200));
    assert_eq!(late.count(), 1);
}

#[tokio::test]
async fn a_delivery_whose_acknowledgement_is_lost_comes_again() {
    let (_server, proxy) = start().await;
    let mut client = with_consumer(&proxy).await;
    client.request("kept", "tea").await;
    let mut lost = proxy.add(Rule::drop(Direction::ToServer, is_acknowledgement).times(1));
    pull(&mut client, 2).await;
    let first = client.message().await;
    assert_eq!((first.subject.as_str(), &*first.payload), ("kept", &b"tea"[..]));
    client.publish(first.reply.as_deref().unwrap(), "", "+ACK").await;
    assert_eq!(lost.reaches(1).await, 1);
    let second = client.message().await;
    assert_eq!(second.payload, "tea");
    // As a request, it is answered when it has taken effect.
    client.request(second.reply.as_deref().unwrap(), "+ACK").await;
    assert_eq!((lost.count(), unacknowledged(&mut client).await), (1, Some(0)));
}

#[tokio::test]
async fn what_is_stored_stays_so_when_its_confirmation_is_lost() {
    let (server, proxy) = start().await;
    let mut client = with_consumer(&proxy).await;
    client.write("SUB _INBOX.store 1\r\n").await;
    let confirms = |message: &Message| message.subject == "_INBOX.store";
    let mut lost = proxy.add(Rule::drop(Direction::ToClient, confirms));
    for _ in 0..2 {
        client.publish("kept", "_INBOX.store", "tea").await;
    }
    assert_eq!(lost.reaches(2).await, 2);
    assert_eq!(server.monitor("/jsz").unwrap().field("messages"), Some("2"));
    proxy.clear();
    client.publish("kept", "_INBOX.store", "tea").await;
    assert!(client.message().await.payload.ends_with(b"\"seq\":3}"));
}

#[tokio::test]
async fn so_many_deliveries_are_doubled_as_were_asked_for() {
    let (_server, proxy) = start().await;
    let mut client = with_consumer(&proxy).await;
    for payload in ["1", "2", "3"] {
        client.request("kept", payload).await;
    }
    let doubled = proxy.add(Rule::duplicate(Direction::ToClient, is_delivery).times(2));
    // In the other direction a rule does not count.
    let other = proxy.add(Rule::drop(Direction::ToServer, is_delivery));
    pull(&mut client, 3).await;
    let mut got = Vec::new();
    for _ in 0..5 {
        got.push(client.message().await.payload);
    }
    assert_eq!(got, ["1", "1", "2", "2", "3"]);
    assert_eq!((doubled.count(), other.count()), (2, 0));
}

#[tokio::test]
async fn a_proxy_that_is_dropped_leaves_no_connection() {
    let (server, proxy) = start().await;
    let address = proxy.address();
    let mut client = Client::connect(address).await.unwrap();
    drop(proxy);
    assert!(client.next().await.is_err());
    assert!(Client::connect(address).await.is_err());
    drop(server);
}
