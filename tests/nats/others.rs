//! What callers, other programs and operators do that must not harm a node, nor make it say what is not true.

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use catga::{Command, Context, ErrorKind, Event, Failure, Limits, Mediator, Outcome, State, handler, transport::Nats};
use catga_tests::{
    Log,
    proxy::{Direction, Proxy, Rule},
};
use serde::{Deserialize, Serialize};
use xtask::nats::{Server, ServerOptions};

use crate::support::{bare, limits, node, node_at, reaches, server};

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Fact {
    number: u32,
}

/// As the subject of the stream says it.
const FACT: &str = "catga.reliable.catga-tests.Fact";
/// A fact that no handler takes.
const BAD: u32 = 666;

#[handler]
async fn keep(event: Fact, State(log): State<Log>, ctx: Context) -> Result<(), Failure> {
    log.add(format!("run {} of {}", ctx.attempt(), event.number));
    if event.number == BAD { Err(Failure::new("bad", "it is no fact")) } else { Ok(()) }
}

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(String)]
struct Grow {
    size: usize,
    fails: bool,
}

/// As the subject for foreign callers says it.
const GROW: &str = "catga.request.catga-tests.Grow";

#[handler]
async fn grow(command: Grow) -> Result<String, Failure> {
    let text = "x".repeat(command.size);
    if command.fails { Err(Failure::new("large", text)) } else { Ok(text) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_behind_a_lost_confirmation_leaves_the_outcome_unknown() {
    let (server, log) = (server(), Log::default());
    let proxy = Proxy::start(server.port()).await.unwrap();
    let mediator = node_at(&proxy.url(), "node1", &log).await.handler(keep).build().await.unwrap();
    let mut lost = proxy.add(
        Rule::drop(Direction::ToClient, |message| {
            message.payload.starts_with(br#"{"stream":"catga-events","seq":"#)
                || message.payload.starts_with(br#"{"stream":"catga-events", "seq":"#)
        })
        .times(1),
    );
    let publishing = tokio::spawn({
        let mediator = mediator.clone();
        async move { mediator.publish(Fact { number: 1 }).await }
    });
    lost.reaches(1).await;
    let jetstream = async_nats::jetstream::new(bare(&server).await);
    let mut config = jetstream.get_stream("catga-events").await.unwrap().cached_info().config.clone();
    config.sealed = true;
    jetstream.update_stream(config).await.unwrap();
    let error = publishing.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("sealed"), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    reaches(|| log.len(), 1).await;
    mediator.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_no_room_for_a_dead_letter_runs_as_often_as_it_may_and_its_start_is_kept() {
    let (server, log) = (server(), Log::default());
    let mediator = node(&server, "node1", &log).await.handler(keep).build().await.unwrap();
    let client = bare(&server).await;
    let padding = "x".repeat(client.max_payload() - 100);
    let payload = serde_json::json!({ "number": BAD, "padding": padding }).to_string();
    client.publish(FACT, payload.clone().into()).await.unwrap();
    let letters = async {
        loop {
            match mediator.dead_letters().list(None, 10).await.unwrap() {
                letters if letters.is_empty() => tokio::time::sleep(Duration::from_millis(100)).await,
                letters => return letters,
            }
        }
    };
    let letters = tokio::time::timeout(Duration::from_secs(20), letters).await.unwrap();
    assert_eq!(log.lines(), ["run 1 of 666", "run 2 of 666", "run 3 of 666", "run 4 of 666"]);
    let letter = &letters[0];
    assert_eq!((letters.len(), letter.attempts, letter.failure.code()), (1, 4, "bad"));
    let text = letter.failure.message();
    assert!(
        text.starts_with(&format!("{} bytes, of which", payload.len())) && text.ends_with("it is no fact"),
        "{text}"
    );
    let catga::transport::DeadContent::Unreadable(kept) = &letter.content else { panic!("{letter:?}") };
    assert!(kept.len() > payload.len() - 4_096 && payload.as_bytes().starts_with(kept));
    // Its delivery is settled.
    mediator.shutdown().await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let stream = jetstream.get_stream("catga-events").await.unwrap();
    let waiting = stream.consumer_info("n~node1").await.unwrap();
    assert_eq!((waiting.num_pending, waiting.num_ack_pending), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_cannot_have_an_event_held_back() {
    let (server, log) = (server(), Log::default());
    let mediator = node(&server, "node1", &log).await.handler(keep).build().await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("Catga-Delay", "3600000");
    let client = bare(&server).await;
    client.publish_with_headers(FACT, headers, r#"{"number":1}"#.into()).await.unwrap();
    reaches(|| log.len(), 1).await;
    mediator.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_its_server_ends_all_the_same() {
    let (mut server, log) = (server(), Log::default());
    let mediator = node(&server, "node1", &log).await.handler(keep).build().await.unwrap();
    server.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let started = Instant::now();
    let error = mediator.shutdown().await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

/// A server with one user for nodes, who may do no more than they need, and another one.
struct Guarded {
    server: Server,
    printed: String,
    node: Mediator,
    other: async_nats::Client,
}

impl Guarded {
    async fn start() -> Self {
        let config = "authorization { user: shop, password: secret }".into();
        let mut server = Server::start(&ServerOptions { config, ..ServerOptions::default() }).unwrap();
        let nats = Nats::builder().server(server.url()).user("shop", "secret").connect().await.unwrap();
        let printed = nats.permissions("catga").to_string();
        server.reload(&permit(&printed, None)).unwrap();
        let builder = Mediator::builder().transport(nats).node("node1").limits(limits()).discover(false);
        let node = builder.state(Log::default()).handler(keep).handler(grow).build().await.unwrap();
        let other = async_nats::ConnectOptions::with_user_and_password("root".into(), "secret".into());
        let other = other.connect(server.url()).await.unwrap();
        Self { server, printed, node, other }
    }

    fn take_away(&mut self, part: &str) {
        self.server.reload(&permit(&self.printed, Some(part))).unwrap();
    }
}

/// The configuration with what is printed, but for the lines that contain this.
fn permit(printed: &str, without: Option<&str>) -> String {
    let kept: Vec<_> = printed.lines().filter(|line| without.is_none_or(|part| !line.contains(part))).collect();
    let root = "{ user: root, password: secret }";
    format!("authorization {{ users: [ {root}, {{ user: shop, password: secret, {} }} ] }}", kept.join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_may_not_give_up_its_place_is_gone_all_the_same() {
    let mut guarded = Guarded::start().await;
    guarded.take_away("CONSUMER.DELETE");
    tokio::time::sleep(Duration::from_millis(200)).await;
    guarded.node.leave_for_good().await.unwrap_err();
    let gone = async {
        let asked = async || {
            let request = async_nats::Request::new().timeout(Some(Duration::from_secs(1)));
            let request = request.payload(r#"{"size":1,"fails":false}"#.into());
            guarded.other.send_request(GROW, request).await.map_err(|error| error.kind())
        };
        while asked().await.err() != Some(async_nats::RequestErrorKind::NoResponders) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), gone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_cannot_crowd_out_what_a_node_may_not() {
    let mut guarded = Guarded::start().await;
    for number in 0..100 {
        let question = r#"{"size":1,"fails":false}"#.into();
        let inbox = format!("catga.inbox.nowhere.{number}");
        guarded.other.publish_with_reply(GROW, inbox, question).await.unwrap();
    }
    let answer = guarded.other.request(GROW, r#"{"size":1,"fails":false}"#.into()).await.unwrap();
    assert_eq!(&answer.payload[..], br#""x""#);
    guarded.node.ready().unwrap();
    guarded.take_away("catga.cluster");
    let told = async {
        while guarded.node.ready().is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), told).await.unwrap();
    let error = guarded.node.ready().unwrap_err();
    assert!(error.to_string().contains("catga.cluster.node"), "{error}");
    guarded.node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_large_to_travel_is_an_error_at_once() {
    let (server, log) = (server(), Log::default());
    let first = node(&server, "node1", &log).await.build().await.unwrap();
    let second = node(&server, "node2", &log).await.handler(grow).build().await.unwrap();
    let started = Instant::now();
    // With its quotes it is as large as a message can be, without what stands beside it.
    let error = first.send(Grow { size: (1 << 20) - 2, fails: false }).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::TooLarge, Outcome::Failed), "{error}");
    let error = first.send(Grow { size: 2 << 20, fails: true }).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Handler, Outcome::Failed));
    let failure = error.failure().unwrap();
    assert_eq!((failure.code(), failure.message().len()), ("large", 64 * 1024));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}

#[handler]
async fn wait(event: Fact, State(log): State<Log>, ctx: Context) {
    log.add(format!("run {} of {}", ctx.attempt(), event.number));
    if log.len() == 1 {
        std::future::pending::<()>().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_gave_back_runs_again_where_the_stream_is_full() {
    let (server, log) = (server(), Log::default());
    let shutdown = Duration::from_millis(200);
    let build = async || {
        let builder = node(&server, "node1", &log).await.limits(Limits { shutdown, ..limits() });
        builder.handler(wait).build().await.unwrap()
    };
    let mediator = build().await;
    mediator.publish(Fact { number: 1 }).await.unwrap();
    reaches(|| log.len(), 1).await;
    mediator.shutdown().await.unwrap_err();
    let jetstream = async_nats::jetstream::new(bare(&server).await);
    let mut config = jetstream.get_stream("catga-events").await.unwrap().cached_info().config.clone();
    config.discard = async_nats::jetstream::stream::DiscardPolicy::New;
    config.max_messages = 1;
    jetstream.update_stream(config).await.unwrap();
    let mediator = build().await;
    reaches(|| log.len(), 2).await;
    mediator.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_keeps_only_the_last_of_a_subject_is_refused() {
    let server = server();
    let jetstream = async_nats::jetstream::new(bare(&server).await);
    let config = async_nats::jetstream::stream::Config {
        name: "catga-events".into(),
        subjects: vec!["catga.reliable.>".into(), "catga.retry.>".into()],
        max_messages_per_subject: 1,
        ..Default::default()
    };
    jetstream.create_stream(config).await.unwrap();
    let built = node(&server, "node1", &Log::default()).await.handler(keep).build().await;
    let error = built.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("keeps only the last 1"), "{error}");
}
