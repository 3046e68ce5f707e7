//! The rows over HTTP: three processes of the order service on one server, or one alone, beside axum that does nothing else.
//!
//! Each order is emitted at both qualities of service and handled on all nodes, which is counted.

use std::{
    io::{ErrorKind, Read},
    num::NonZeroU32,
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    http::{HeaderName, StatusCode, header::LOCATION},
    routing::post,
};
use serde::{Deserialize, Serialize};
use xtask::{
    http,
    nats::{Server, ServerOptions},
    ports::free_port,
    process::Process,
    shell,
};

use super::{
    Result,
    row::{Figure, Side, until_acknowledged},
    text,
    usage::processor,
};

/// How many connections wrk holds open, each with one request at a time, and by how many threads.
pub const CONNECTIONS: u64 = 100;
const THREADS: u64 = 2;
const WARM_UP: Duration = Duration::from_secs(1);
/// wrk counts in seconds: the time of a run of the other rows, so many times.
const LONGER: u32 = 4;
const NODES: [&str; 3] = ["node1", "node2", "node3"];
/// How long a node may take to start, to see the others, or to stop.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long an event of QoS 0 may be under way when the last order was answered.
const UNDER_WAY: Duration = Duration::from_millis(300);

/// One run of one side. One node is alone; more share a server.
pub fn measure(side: Side, nodes: usize, time: Duration) -> Result<Figure> {
    let runtime = tokio::runtime::Runtime::new().map_err(text)?;
    let time = (time * LONGER).max(Duration::from_secs(1));
    match side {
        Side::Ours => Nodes::start(&NODES[..nodes])?.measure(&runtime, time),
        Side::Bare => {
            let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).map_err(text)?;
            let port = listener.local_addr().map_err(text)?.port();
            let routes = Router::new().route("/orders", post(create));
            runtime.spawn(async { axum::serve(listener, routes).await });
            wrk(port, WARM_UP)?;
            let before = processor("self")?;
            let load = wrk(port, time)?;
            Ok(load.figure(processor("self")? - before, 0.0))
        }
    }
}

/// What the order service is sent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewOrder {
    #[serde(rename = "productId")]
    _product: String,
    #[serde(rename = "quantity")]
    _quantity: NonZeroU32,
}

/// What it answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Placed {
    order_id: String,
    status: &'static str,
    processed_by: &'static str,
}

/// The twin: the same request, the same answer, and no work.
async fn create(Json(_): Json<NewOrder>) -> (StatusCode, [(HeaderName, String); 1], Json<Placed>) {
    static ORDERS: AtomicU64 = AtomicU64::new(0);
    let order_id = format!("node1-{:032x}", ORDERS.fetch_add(1, Relaxed));
    let location = format!("/orders/{order_id}");
    (StatusCode::CREATED, [(LOCATION, location)], Json(Placed { order_id, status: "Created", processed_by: "node1" }))
}

/// Nodes, each a process, and the server between them, if there are several.
struct Nodes {
    running: Vec<Process>,
    server: Option<Server>,
    port: u16,
}

impl Nodes {
    fn start(names: &[&str]) -> Result<Self> {
        let program = order_service()?;
        let server = if names.len() > 1 { Some(Server::start(&ServerOptions::default())?) } else { None };
        let url = server.as_ref().map_or_else(String::new, Server::url);
        let ports = names.iter().map(|_| free_port()).collect::<Result<Vec<_>>>()?;
        let mut nodes = Self { running: Vec::new(), server, port: ports[0] };
        for (id, port) in names.iter().zip(&ports) {
            let mut command = Process::command(&program, None);
            command
                .args([id, port.to_string().as_str()])
                .envs([("NATS_URL", url.as_str()), ("QUIET", "1"), ("RUST_LOG", "error")])
                .env_remove("ROUTING")
                .stdout(Stdio::piped());
            nodes.running.push(Process::spawn(command)?);
        }
        let (deadline, all) = (Instant::now() + PATIENCE, names.len().to_string());
        let sees = |port| http::get(port, "/health").is_ok_and(|answer| answer.field("onlineNodes") == Some(&all));
        while !ports.iter().all(|port| sees(*port)) {
            if Instant::now() > deadline {
                return Err(format!("{all} nodes do not see each other after {PATIENCE:?}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(nodes)
    }

    fn measure(mut self, runtime: &tokio::runtime::Runtime, time: Duration) -> Result<Figure> {
        let mut requests = wrk(self.port, WARM_UP)?.requests;
        let before = self.used()?;
        let load = wrk(self.port, time)?;
        let after = self.used()?;
        requests += load.requests;
        if let Some(server) = &self.server {
            runtime.block_on(until_acknowledged(server))?;
        }
        std::thread::sleep(UNDER_WAY);
        let counts = self.running.iter_mut().map(counted).collect::<Result<Vec<_>>>()?;
        check(&counts, requests)?;
        Ok(load.figure(after.0 - before.0, after.1 - before.1))
    }

    /// Processor time of all nodes, and of the server.
    fn used(&self) -> Result<(f64, f64)> {
        let nodes: Result<f64> = self.running.iter().map(|node| processor(&node.id().to_string())).sum();
        let Some(server) = &self.server else { return Ok((nodes?, 0.0)) };
        let server = server.id().ok_or("the server does not run")?;
        Ok((nodes?, processor(&server.to_string())?))
    }
}

/// How many orders a node took, heard of by QoS 0 and by QoS 1, and the sums of their numbers.
type Counts = [(u64, u64); 3];

/// Stops a node and reads what it has counted.
fn counted(node: &mut Process) -> Result<Counts> {
    node.signal("TERM")?;
    let status = node.wait(PATIENCE)?.ok_or("a node does not stop")?;
    let mut said = String::new();
    node.take_stdout().ok_or("a node has no output")?.read_to_string(&mut said).map_err(text)?;
    let one = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix("counted ")?.strip_prefix(name));
        let mut numbers = line?.split_whitespace().map_while(|number| number.parse().ok());
        Some((numbers.next()?, numbers.next()?))
    };
    let counts = || Some([one("taken")?, one("created")?, one("shipped")?]);
    counts().ok_or_else(|| format!("a node ended ({status}) and did not say what it counted: {said}"))
}

/// Each node must have heard of each order once, by both qualities of service.
fn check(counts: &[Counts], answered: u64) -> Result {
    let taken = counts.iter().fold((0, 0_u64), |all, node| (all.0 + node[0].0, all.1.wrapping_add(node[0].1)));
    // What is under way when wrk stops is taken and not counted by it: at the end of the warm-up, and of the run.
    if !(answered..=answered + 2 * CONNECTIONS).contains(&taken.0) {
        return Err(format!("{answered} orders were answered and {} taken", taken.0));
    }
    for (node, counts) in NODES.iter().zip(counts) {
        for (quality, heard) in counts[1..].iter().enumerate() {
            if *heard != taken {
                return Err(format!("{} orders were taken, {node} heard of {} by QoS {quality}", taken.0, heard.0));
            }
        }
    }
    Ok(())
}

/// The order service, built as this program is; [`measure`] runs what is there.
pub fn build() -> Result {
    shell::step("the order service", &mut shell::cargo("build --quiet --release -p order-service"))
}

/// Beside this program.
fn order_service() -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(text)?;
    Ok(own.with_file_name(format!("order-service{}", std::env::consts::EXE_SUFFIX)))
}

/// What wrk says.
struct Load {
    requests: u64,
    seconds: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Load {
    fn figure(&self, client_us: f64, server_us: f64) -> Figure {
        let requests = self.requests as f64;
        Figure {
            per_second: requests / self.seconds,
            messages: self.requests,
            p50_us: Some(self.p50_us),
            p99_us: Some(self.p99_us),
            client_us: Some(client_us / requests),
            server_us: Some(server_us / requests),
            ..Figure::default()
        }
    }
}

/// Lets wrk order for so long; a request that fails is an error.
fn wrk(port: u16, time: Duration) -> Result<Load> {
    let mut wrk = Command::new("wrk");
    wrk.args([format!("-t{THREADS}"), format!("-c{CONNECTIONS}"), format!("-d{}s", time.as_secs())])
        .arg("-s")
        .arg(shell::root().join("benches/rows/orders.lua"))
        .arg(format!("http://127.0.0.1:{port}"));
    let output = wrk.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => "wrk is missing; `sudo apt-get install wrk` installs it".to_owned(),
        _ => format!("wrk cannot be run: {error}"),
    })?;
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().find_map(|line| line.strip_prefix("counted "));
    let numbers: Vec<u64> = line.unwrap_or_default().split(' ').filter_map(|number| number.parse().ok()).collect();
    let [requests, duration_us, failures, p50_us, p99_us] = numbers[..] else {
        return Err(format!("wrk failed: {said}{}", String::from_utf8_lossy(&output.stderr)));
    };
    if failures > 0 || requests == 0 {
        return Err(format!("{failures} requests failed, {requests} did not"));
    }
    Ok(Load { requests, seconds: duration_us as f64 / 1e6, p50_us: p50_us as f64, p99_us: p99_us as f64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_a_node_did_not_hear_of_or_heard_of_twice_is_found() {
        let (taker, other) = ([(2, 30), (2, 30), (2, 30)], [(0, 0), (2, 30), (2, 30)]);
        assert_eq!(check(&[taker, other, other], 2), Ok(()));
        let wrong = |third: Counts, answered| check(&[taker, other, third], answered).is_err();
        assert!(wrong([(0, 0), (1, 10), (2, 30)], 2), "lost by QoS 0");
        assert!(wrong([(0, 0), (2, 30), (3, 50)], 2), "twice by QoS 1");
        assert!(wrong([(0, 0), (2, 30), (2, 40)], 2), "one twice instead of another");
        assert!(wrong(other, 3), "one was answered and never taken");
    }
}
