//! Whether anything grows under a load of everything, with faults, for as long as somebody wants to watch:
//! `SOAK_SECONDS=600 cargo test --release -p catga-tests --test nats soak -- --ignored --nocapture`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use catga::{
    Command, Context, Event, Failure, Limits, Mediator, PublishOptions, Query, SendOptions, State, handler,
    transport::Nats,
};
use catga_tests::proxy::Proxy;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use xtask::nats::Server;

use crate::support::{bare, server};

/// How often a line is printed.
const EVERY: Duration = Duration::from_secs(10);
/// What is there after this time is to be all.
const WARM_UP: Duration = Duration::from_secs(60);
/// What four nodes remember of ten minutes of this load: 32 bytes for each message and handler, twice in a table that has
/// just grown.
const REMEMBERED_MB: f64 = 16.0;

/// What was done, by anybody.
#[derive(Clone, Default)]
struct Done(Arc<Counters>);

#[derive(Default)]
struct Counters {
    handled: AtomicU64,
    answered: AtomicU64,
    errors: AtomicU64,
    replayed: AtomicU64,
    restarts: AtomicU64,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Every tenth fails at its first run, every hundredth always.
#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Soaked {
    number: u64,
}

#[derive(Event, Clone, Serialize, Deserialize)]
struct Rumoured {
    number: u64,
}

/// Every twentieth is answered when its caller has gone.
#[derive(Query, Clone, Serialize, Deserialize)]
#[response(u64)]
struct Ask {
    number: u64,
}

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(u64)]
struct Order {
    number: u64,
    text: String,
}

#[handler]
async fn soak_each(event: Soaked, State(done): State<Done>, ctx: Context) -> Result<(), Failure> {
    if event.number.is_multiple_of(100) || (event.number.is_multiple_of(10) && ctx.attempt() == 1) {
        return Err(Failure::new("planned", "by plan"));
    }
    ctx.emit(Rumoured { number: event.number });
    add(&done.0.handled);
    Ok(())
}

#[handler(group = "soak")]
async fn soak_shared(_: Soaked, State(done): State<Done>) {
    tokio::time::sleep(Duration::from_millis(5)).await;
    add(&done.0.handled);
}

#[handler]
async fn soak_rumour(_: Rumoured, State(done): State<Done>) {
    add(&done.0.handled);
}

#[handler]
async fn soak_ask(ask: Ask) -> u64 {
    tokio::time::sleep(Duration::from_millis(if ask.number.is_multiple_of(20) { 300 } else { 1 })).await;
    ask.number
}

#[handler]
async fn soak_order(order: Order, ctx: Context) -> u64 {
    ctx.emit(Soaked { number: order.number });
    order.number
}

async fn start(id: &str, proxy: &Proxy, done: &Done) -> Mediator {
    let builder = Mediator::builder().transport(Nats::connect(proxy.url()).await.unwrap()).node(id);
    // What is remembered is forgotten in time to see whether it is all that grows.
    let builder = builder.idempotency(Duration::from_secs(10), 8 << 20).discover(false).state(done.clone());
    let limits = Limits { ack_wait: Duration::from_secs(2), backoff: Duration::from_millis(50), ..Limits::default() };
    let builder = builder.limits(limits).handler(soak_each).handler(soak_shared).handler(soak_rumour);
    builder.handler(soak_ask).handler(soak_order).build().await.unwrap()
}

/// Both kinds of events, alone and together, some of them under an id of the caller.
async fn publish(node: Mediator, done: Done) {
    for number in 0.. {
        let base = number * 20;
        let options = PublishOptions { id: Some(catga::MessageId::new()), ..PublishOptions::default() };
        let results = [
            node.publish_all((base..base + 18).map(|number| Soaked { number })).await.map(drop),
            node.publish(Soaked { number: base + 18 }).await,
            node.publish_with(Soaked { number: base + 19 }, options).await,
            node.publish(Rumoured { number }).await,
            node.publish_all((base..base + 20).map(|number| Rumoured { number })).await.map(drop),
        ];
        results.iter().filter(|result| result.is_err()).for_each(|_| add(&done.0.errors));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Queries, commands with and without keys, keys that come twice, and callers that do not wait for their answer.
async fn ask(node: Mediator, done: Done) {
    let mut under_way = JoinSet::new();
    for number in 0_u64.. {
        let (node, done) = (node.clone(), done.clone());
        under_way.spawn(async move {
            let text = "x".repeat(200);
            let result = match number % 3 {
                0 => {
                    // Each comes ten times.
                    let number = number / 30;
                    let options = SendOptions { key: Some(format!("key-{number}")), ..SendOptions::default() };
                    node.send_with(Order { number, text }, options).await
                }
                1 => node.send(Order { number, text }).await,
                _ => {
                    let timeout = Some(Duration::from_millis(if number.is_multiple_of(20) { 100 } else { 5_000 }));
                    node.send_with(Ask { number }, SendOptions { timeout, ..SendOptions::default() }).await
                }
            };
            add(if result.is_ok() { &done.0.answered } else { &done.0.errors });
        });
        while under_way.try_join_next().is_some() {}
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Messages of programs that are no nodes, and bytes that are none.
async fn intrude(server: Arc<Server>, done: Done) {
    let client = bare(&server).await;
    for number in 1_u64.. {
        let json = format!("{{\"number\":{number}}}");
        let said = if number.is_multiple_of(50) { "no json".to_owned() } else { json.clone() };
        for subject in ["catga.event.catga-tests.Rumoured", "catga.reliable.catga-tests.Soaked"] {
            client.publish(subject, said.clone().into()).await.unwrap();
        }
        let asked = client.request("catga.request.catga-tests.Ask", json.into());
        let answered = tokio::time::timeout(Duration::from_secs(5), asked).await;
        add(if matches!(answered, Ok(Ok(_))) { &done.0.answered } else { &done.0.errors });
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Reads dead letters, has some handled again, and deletes the others.
async fn bury(node: Mediator, done: Done) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for (index, letter) in node.dead_letters().list(None, 100).await.unwrap_or_default().into_iter().enumerate() {
            let again = letter.message().is_some() && index % 10 == 0;
            let result = match again {
                true => node.dead_letters().replay(letter.id).await,
                false => node.dead_letters().delete(letter.id).await.map(drop),
            };
            add(if result.is_ok() { &done.0.replayed } else { &done.0.errors });
        }
    }
}

/// What must not grow.
#[derive(Debug)]
struct Size {
    resident_mb: f64,
    tasks: usize,
    subscriptions: usize,
    connections: usize,
}

fn size(server: &Server) -> Size {
    let count = |page, name| server.monitor(page).unwrap().field(name).unwrap().parse().unwrap();
    Size {
        resident_mb: xtask::usage::memory("self").unwrap() / 1024.0,
        tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        subscriptions: count("/subsz", "num_subscriptions"),
        connections: count("/connz?limit=1", "total"),
    }
}

/// The largest of a row.
fn largest(sizes: &[Size], of: fn(&Size) -> f64) -> f64 {
    sizes.iter().map(of).fold(0.0, f64::max)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes ten minutes, or as long as SOAK_SECONDS says"]
async fn nothing_grows_under_a_load_of_everything() {
    let seconds = std::env::var("SOAK_SECONDS").map_or(600, |seconds| seconds.parse().unwrap());
    let (server, done) = (Arc::new(server()), Done::default());
    let mut proxies = Vec::new();
    for _ in 0..4 {
        proxies.push(Proxy::start(server.port()).await.unwrap());
    }
    let mut nodes = Vec::new();
    for (id, proxy) in ["node1", "node2", "node3", "node4"].into_iter().zip(&proxies) {
        nodes.push(start(id, proxy, &done).await);
    }
    let mut load = JoinSet::new();
    load.spawn(publish(nodes[0].clone(), done.clone()));
    load.spawn(ask(nodes[1].clone(), done.clone()));
    load.spawn(bury(nodes[2].clone(), done.clone()));
    load.spawn(intrude(server.clone(), done.clone()));

    let (began, mut sizes) = (Instant::now(), Vec::new());
    eprintln!("     s  RSS MB  tasks  subs  conns  handled  answered  errors  buried  starts");
    while began.elapsed() < Duration::from_secs(seconds) {
        tokio::time::sleep(EVERY).await;
        let (now, count) = (size(&server), &*done.0);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        eprintln!(
            "{:>6}  {:>6.1}  {:>5}  {:>4}  {:>5}  {:>7}  {:>8}  {:>6}  {:>6}  {:>6}",
            began.elapsed().as_secs(),
            now.resident_mb,
            now.tasks,
            now.subscriptions,
            now.connections,
            read(&count.handled),
            read(&count.answered),
            read(&count.errors),
            read(&count.replayed),
            read(&count.restarts),
        );
        if began.elapsed() > WARM_UP {
            sizes.push(now);
        }
        // One of them loses its connections, or starts again.
        match read(&count.restarts) as usize % 4 {
            3 => {
                // What it cannot finish in time, the next one does.
                let _ = nodes.pop().unwrap().shutdown().await;
                nodes.push(start("node4", &proxies[3], &done).await);
            }
            cut => proxies[cut].cut().await,
        }
        add(&count.restarts);
    }
    load.shutdown().await;
    let (early, late) = sizes.split_at(sizes.len() / 2);
    // What a durable has done lately it remembers for ten minutes at the most, and memory grows by that until then.
    assert!(largest(late, |size| size.resident_mb) < largest(early, |size| size.resident_mb) + REMEMBERED_MB);
    // Those of requests that are under way come and go.
    assert!(largest(late, |size| size.tasks as f64) < largest(early, |size| size.tasks as f64) + 50.0);
    assert!(largest(late, |size| size.subscriptions as f64) <= largest(early, |size| size.subscriptions as f64));
    assert!(largest(late, |size| size.connections as f64) <= largest(early, |size| size.connections as f64));
}
