//! Nodes with no more permissions than are printed, with fewer, and with fewer from some time on.

use std::time::{Duration, Instant};

use catga::{Command, Context, Error, ErrorKind, Event, Failure, Mediator, State, handler, transport::Nats};
use catga_tests::Log;
use serde::{Deserialize, Serialize};
use xtask::nats::{Server, ServerOptions};

use crate::support::{limits, lines, reaches};

#[derive(Event, Clone, Serialize, Deserialize)]
struct Heard {
    order: u32,
}

#[handler]
async fn hear(event: Heard, State(log): State<Log>, ctx: Context) {
    log.add(format!("{} hears {}", ctx.node(), event.order));
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Paid {
    order: u32,
    fails: u32,
}

#[handler(backoff = "20ms", attempts = 3)]
async fn pay(event: Paid, State(log): State<Log>, ctx: Context) -> Result<(), Failure> {
    if ctx.attempt() <= event.fails {
        return Err(Failure::new("declined", "not yet"));
    }
    log.add(format!("{} pays {}", ctx.node(), event.order));
    Ok(())
}

#[handler(group = "mail")]
async fn mail(event: Paid, State(log): State<Log>) {
    log.add(format!("mail {}", event.order));
}

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(String)]
struct Ask {
    order: u32,
}

#[handler]
async fn answer(command: Ask, ctx: Context) -> String {
    ctx.emit(Heard { order: command.order });
    format!("{} answers {}", ctx.node(), command.order)
}

/// What may be published and subscribed to, as the printed text says it.
type Lists = (Vec<String>, Vec<String>);

/// The printed text, with what is taken out of it left out.
fn permissions(printed: &str, without: Option<(&str, &str)>) -> String {
    let Some((list, subject)) = without else { return printed.to_owned() };
    let (mut inside, mut text) = ("", String::new());
    for line in printed.lines() {
        if let Some(name) = line.trim().strip_suffix(": [") {
            inside = name;
        }
        if !(inside == list && line.trim() == format!("{subject:?}")) {
            text.push_str(line);
            text.push('\n');
        }
    }
    assert!(text.len() < printed.len(), "{subject}");
    text
}

fn users(permissions: &[(&str, String)]) -> String {
    let user = |(name, text): &(&str, String)| format!("{{ user: {name}, password: secret, {text} }}\n");
    let users: String = permissions.iter().map(user).collect();
    format!("authorization {{ users: [ {{ user: root, password: secret }}\n{users} ] }}")
}

fn server(config: String) -> Server {
    Server::start(&ServerOptions { config, ..ServerOptions::default() }).unwrap()
}

async fn nats(server: &Server, user: &str) -> Nats {
    Nats::builder().server(server.url()).user(user, "secret").connect().await.unwrap()
}

/// What is printed for an application. That needs a server only because a transport does.
async fn printed(app: &str) -> (String, Lists) {
    let server = server(users(&[]));
    let permissions = nats(&server, "root").await.permissions(app);
    (permissions.to_string(), (permissions.publish().to_vec(), permissions.subscribe().to_vec()))
}

async fn node(nats: Nats, id: &str, log: &Log) -> Result<Mediator, Error> {
    let builder = Mediator::builder().transport(nats).app("my.shop").node(id).limits(limits()).discover(false);
    builder.state(log.clone()).handler(hear).handler(pay).handler(mail).handler(answer).build().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_is_enough() {
    let (printed, _) = printed("my.shop").await;
    let (server, log) = (server(users(&[("shop", printed)])), Log::default());
    let first = node(nats(&server, "shop").await, "node.1", &log).await.unwrap();
    let second = node(nats(&server, "shop").await, "node.2", &log).await.unwrap();
    for order in 0..20 {
        assert!(first.send(Ask { order }).await.unwrap().ends_with(&format!("answers {order}")));
        second.publish(Paid { order, fails: 0 }).await.unwrap();
    }
    first.publish(Paid { order: 20, fails: 1 }).await.unwrap();
    reaches(|| lines(&log, "hears"), 40).await;
    reaches(|| lines(&log, "pays"), 42).await;
    reaches(|| lines(&log, "mail"), 21).await;
    second.publish(Paid { order: 99, fails: 9 }).await.unwrap();
    let letters = async {
        loop {
            let letters = first.dead_letters().list(None, 10).await.unwrap();
            if letters.len() == 2 {
                return letters;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let letters = tokio::time::timeout(Duration::from_secs(20), letters).await.unwrap();
    let letter = first.dead_letters().get(letters[0].id).await.unwrap();
    first.dead_letters().delete(letter.id).await.unwrap();
    first.ready().unwrap();
    second.ready().unwrap();
    second.leave_for_good().await.unwrap();
    first.shutdown().await.unwrap();
    assert!(!server.log().contains("Permissions Violation"), "{}", server.log());

    // What was tried at the start left nothing behind.
    let options = async_nats::ConnectOptions::with_user_and_password("root".into(), "secret".into());
    let jetstream = async_nats::jetstream::new(options.connect(server.url()).await.unwrap());
    let info = jetstream.get_stream("my~shop-events").await.unwrap().get_info().await.unwrap();
    let subjects = server.monitor("/jsz?streams=1&consumers=1").unwrap();
    assert!(!subjects.body.contains("_check") && subjects.body.contains("my~shop-dead"));
    assert_eq!(info.state.consumer_count, 2, "the node that stays and the group");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_permission_that_is_missing_is_named_at_the_start() {
    let (printed, (publish, subscribe)) = printed("my.shop").await;
    let each = |list: &'static str, subjects: Vec<String>| subjects.into_iter().map(move |subject| (list, subject));
    let missing: Vec<_> = each("publish", publish).chain(each("subscribe", subscribe)).collect();
    let names: Vec<_> = (0..missing.len()).map(|number| format!("user{number}")).collect();
    let entry =
        |(name, (list, subject)): (&'static str, &(&str, String))| (name, permissions(&printed, Some((list, subject))));
    let entries: Vec<_> = names.iter().map(|name| &*name.clone().leak()).zip(&missing).map(entry).collect();
    let mut all = entries.clone();
    all.push(("nothing", "permissions: { publish: [], subscribe: [] }".replace("[]", "[ nothing ]")));
    let server = server(users(&all));
    let log = Log::default();
    // What is there need not be made, but could be missing tomorrow.
    node(nats(&server, "root").await, "node1", &log).await.unwrap().shutdown().await.unwrap();
    for ((user, _), (list, subject)) in entries.iter().zip(&missing) {
        let start = Instant::now();
        let error = node(nats(&server, user).await, "node1", &log).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{list} {subject}: {error}");
        let verb = if *list == "publish" { "publish to `" } else { "subscribe to `" };
        let text = error.to_string();
        let part = subject.trim_end_matches(['*', '>']).split('*').next().unwrap_or_default();
        assert!(text.contains(&format!("{verb}{part}")), "{list} {subject}: {error}");
        assert_eq!(text.matches("to `").count(), 1, "{error}");
        assert!(start.elapsed() < Duration::from_secs(2), "{list} {subject} took {:?}", start.elapsed());
    }
    let text = node(nats(&server, "nothing").await, "node1", &log).await.err().unwrap().to_string();
    for needed in ["my~shop.reliable._check", "my~shop.request.catga-tests.Ask", "$JS.API.INFO", "my~shop.inbox._check"]
    {
        assert!(text.contains(needed), "{needed}: {text}");
    }
}
