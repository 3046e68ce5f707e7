//! What travels, as the tool shows it.

use std::{io::Write, net::TcpStream};

use async_nats::Client;
use catga::{Command, Event, Failure, Mediator, Routing, handler, transport::Nats};
use serde::{Deserialize, Serialize};
use xtask::nats::Server;

use crate::support::{Tapping, run, server};

#[derive(Event, Clone, Serialize, Deserialize)]
#[catga(name = "shop.Seen")]
struct Seen {
    order: u32,
}

#[handler]
async fn note(_: Seen) {}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
#[catga(name = "shop.Paid")]
struct Paid {
    order: u32,
}

#[handler(name = "shop.book")]
async fn book(event: Paid) -> Result<(), Failure> {
    match event.order {
        0 => Err(Failure::new("closed", "no such account").permanent()),
        _ => Ok(()),
    }
}

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(String)]
#[catga(name = "shop.Place")]
struct Place {
    sku: String,
}

#[handler]
async fn place(command: Place) -> String {
    format!("{} is placed", command.sku)
}

async fn node(server: &Server, id: &str, places: bool) -> Mediator {
    let nats = Nats::connect(server.url()).await.unwrap();
    let builder = Mediator::builder().transport(nats).app("shop").node(id).discover(false);
    let builder = builder.routing(Routing::RoundRobin).handler(note).handler(book);
    if places { builder.handler(place).build().await.unwrap() } else { builder.build().await.unwrap() }
}

async fn bare(server: &Server) -> Client {
    async_nats::connect(server.url()).await.unwrap()
}

async fn publish(client: &Client, subject: &str, payload: &str) {
    client.publish(subject.to_owned(), payload.to_owned().into()).await.unwrap();
    client.flush().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_is_taken_apart_while_it_passes() {
    let server = server();
    let (first, second) = (node(&server, "node1", false).await, node(&server, "node2", true).await);
    let tapping = Tapping::start(&server.url(), "tap --app shop --payload").read();

    assert_eq!(first.send(Place { sku: "tea".to_owned() }).await.unwrap(), "tea is placed");
    let request =
        tapping.line(&["shop.node.node2.request frame 1/1 command", "type=shop.Place", "source=node1", "tea"]);
    let token = request.split(' ').find(|field| field.starts_with("token=")).expect("a request has a token");
    tapping.line(&["shop.reply.node1.frame frame 1/1 reply", token, "payload=\"tea is placed\""]);

    first.publish(Seen { order: 7 }).await.unwrap();
    let event =
        tapping.line(&["shop.event.shop.Seen", "type=shop.Seen source=node1 attempt=1", "payload={\"order\":7}"]);
    // Alone on a lane where nothing else is, it is one that any program reads.
    assert!(event.contains(" cloudevent event id="), "{event}");

    first.publish_all((0..32).map(|order| Paid { order })).await.unwrap();
    let several = tapping.line(&["shop.reliable.shop.Paid frame 2/", "type=shop.Paid"]);
    assert!(!several.contains("$JS") && several.contains("attempt=1"), "{several}");
    tapping.line(&["shop.dead.", "dead-letter", "handler=shop.book", "code=closed message=\"no such account\""]);

    let client = bare(&server).await;
    publish(&client, "shop.event.shop.Seen", "{\"order\": 9}").await;
    tapping.line(&["shop.event.shop.Seen json event", "source=foreign", "payload={\"order\": 9}"]);
    publish(&client, "shop.event.shop.Seen", "no json \u{1b}[2J").await;
    tapping.line(&["shop.event.shop.Seen unreadable", r"payload=no json \u{1b}[2J"]);
    for node in [first, second] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_are_for_those_who_ask_and_subjects_choose() {
    let server = server();
    let mediator = node(&server, "node1", false).await;
    let tapping = Tapping::start(&server.url(), "tap --app shop shop.event.>").read();
    let client = bare(&server).await;
    publish(&client, "shop.cluster.node", "{}").await;
    mediator.publish(Paid { order: 1 }).await.unwrap();
    mediator.publish(Seen { order: 77_777 }).await.unwrap();
    let first = tapping.line(&[]);
    assert!(first.contains("shop.event.shop.Seen") && !first.contains("77777"), "{first}");
    mediator.shutdown().await.unwrap();
    drop(tapping);

    // What was stored is not heard again when it is delivered, unless somebody asks for that.
    let mediator = node(&server, "node1", false).await;
    let tapping = Tapping::start(&server.url(), "tap --app shop").read();
    mediator.publish(Paid { order: 1 }).await.unwrap();
    tapping.line(&["shop.reliable.shop.Paid"]);
    mediator.shutdown().await.unwrap();
    publish(&client, "shop.event.shop.Last", "1").await;
    loop {
        let line = tapping.line(&[]);
        assert!(!line.contains("shop.reliable.") && !line.contains("shop.inbox."), "{line}");
        if line.contains("shop.event.shop.Last") {
            break;
        }
    }
    let said = run(&server.url(), "tap shop..event");
    assert_eq!(said.code, Some(1));
    assert!(said.errors.contains("`shop..event`"), "{}", said.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_it_is_interrupted_or_its_output_closed() {
    let server = server();
    let client = bare(&server).await;
    let mut tapping = Tapping::start(&server.url(), "tap").read();
    publish(&client, "catga.event.a.B", "1").await;
    tapping.line(&["catga.event.a.B json event"]);
    tapping.interrupt();
    assert_eq!(tapping.code(), Some(0));
    assert_eq!(tapping.errors.recv().ok(), None, "nothing went wrong");

    let mut tapping = Tapping::start(&server.url(), "tap");
    tapping.close();
    publish(&client, "catga.event.a.B", "1").await;
    assert_eq!(tapping.code(), Some(0));
    assert_eq!(tapping.errors.recv().ok(), None, "nothing went wrong");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_faster_than_it_is_read_is_counted_and_the_end_waits_for_nobody() {
    const SENT: usize = 20_000;
    let server = server();
    let client = bare(&server).await;
    let tapping = Tapping::start(&server.url(), "tap");
    let mut stuck = Tapping::start(&server.url(), "tap");
    for number in 0..SENT {
        client.publish("catga.event.a.B", number.to_string().into()).await.unwrap();
    }
    client.flush().await.unwrap();
    stuck.interrupt();
    assert_eq!(stuck.code(), Some(0), "it ends though nobody reads what it writes");

    let tapping = tapping.read();
    let (mut shown, mut missed) = (0, 0);
    while shown + missed < SENT {
        match tapping.output.recv_timeout(std::time::Duration::from_millis(1_500)) {
            Ok(_) => shown += 1,
            Err(_) => {
                let said =
                    tapping.errors.recv_timeout(std::time::Duration::from_secs(30)).expect("it says what is missing");
                assert!(said.contains("came faster"), "{said}");
                missed += said.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
            }
        }
    }
    assert!(missed > 0 && shown > 4_096, "{shown} are shown and {missed} missed");
    assert_eq!(shown + missed, SENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_kills_the_client_does_not_end_it() {
    let server = server();
    let client = bare(&server).await;
    let tapping = Tapping::start(&server.url(), "tap catga.event.>").read();
    let mut raw = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let headers = "NATS/1.0\r\nbad: a\rb\r\n\r\n";
    let length = headers.len();
    let message =
        format!("CONNECT {{\"headers\":true}}\r\nHPUB catga.event.a.B {length} {length}\r\n{headers}\r\nPING\r\n");
    raw.write_all(message.as_bytes()).unwrap();
    let lost = std::iter::from_fn(|| tapping.errors.recv_timeout(std::time::Duration::from_secs(30)).ok());
    assert!(lost.take(20).any(|line| line.contains("the connection was lost")));
    // When it hears again is its own affair.
    let heard = async {
        loop {
            publish(&client, "catga.event.a.B", "1").await;
            if tapping.output.try_recv().is_ok() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), heard).await.expect("it hears again");
}
