//! A server, the workers on it, and what is true of them in the end.

use std::{
    collections::BTreeMap,
    env, fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use async_nats::jetstream::stream::Stream;
use catga::{Mediator, transport::Nats};
use futures_util::StreamExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use xtask::{
    nats::{Server, ServerOptions},
    process::Process,
};

use crate::journals::{Journals, repeats};

/// How long something may take that must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often is looked whether it came.
const LOOK: Duration = Duration::from_millis(20);
/// The most tests that go on at the same time: more take the processor from each other, and leases run out.
const AT_ONCE: u32 = 2;

/// What a test says of the clock of a worker's machine, among the words for the worker: how far it is ahead.
const CLOCK: &str = "clock_ahead_ms=";

static TURNS: Semaphore = Semaphore::const_new(AT_ONCE as usize);

/// Waits for the turn of a test.
pub(crate) async fn turn() -> SemaphorePermit<'static> {
    TURNS.acquire().await.unwrap()
}

/// Waits until no other test goes on, and keeps them from beginning.
pub(crate) async fn alone() -> SemaphorePermit<'static> {
    TURNS.acquire_many(AT_ONCE).await.unwrap()
}

/// Waits until something is so; `what` says what was missing if it never is.
pub(crate) async fn until(what: &str, is_so: impl FnMut() -> bool) {
    assert!(becomes(PATIENCE, is_so).await, "not after {PATIENCE:?}: {what}");
}

/// Whether something is so in time.
pub(crate) async fn becomes(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A folder for journals. It stays if the test fails.
pub(crate) struct World {
    pub(crate) journals: Journals,
}

/// A worker; dropping it kills it.
pub(crate) struct Worker {
    pub(crate) node: String,
    words: Vec<String>,
    folder: PathBuf,
    process: Process,
}

pub(crate) fn server() -> Server {
    Server::start(&ServerOptions::default()).unwrap()
}

impl World {
    /// A new one under a name that nothing else has.
    pub(crate) fn new(server: &Server) -> Self {
        let folder = env::temp_dir().join(format!("{}-journals", server.name()));
        fs::create_dir(&folder).unwrap();
        Self { journals: Journals(folder) }
    }

    /// Starts a worker, and waits until it is ready.
    pub(crate) async fn worker(&self, node: &str, url: &str, words: &str) -> Worker {
        let folder = self.journals.0.clone();
        let mut all = vec![format!("node={node}"), format!("url={url}")];
        all.push(format!("journal={}", folder.join(node).display()));
        all.extend(words.split_whitespace().map(str::to_owned));
        let process = spawn(&folder, node, &all);
        let mut worker = Worker { node: node.to_owned(), words: all, folder, process };
        self.ready(&mut worker, 1).await;
        worker
    }

    /// Starts a worker again that has ended, on a machine whose clock is ahead by so many milliseconds, or behind.
    pub(crate) async fn restart_at(&self, worker: &mut Worker, ahead_ms: i64) {
        worker.words.retain(|word| !word.starts_with(CLOCK));
        worker.words.push(format!("{CLOCK}{ahead_ms}"));
        self.restart(worker).await;
    }

    /// Starts a worker again that has ended, and waits until it is ready.
    pub(crate) async fn restart(&self, worker: &mut Worker) {
        let before = self.starts(&worker.node);
        worker.process.kill();
        worker.process = spawn(&worker.folder, &worker.node, &worker.words);
        self.ready(worker, before + 1).await;
    }

    fn starts(&self, node: &str) -> usize {
        self.journals.lines(node).iter().filter(|line| *line == "ready").count()
    }

    async fn ready(&self, worker: &mut Worker, starts: usize) {
        let what = format!("{} is ready; see {}", worker.node, self.journals.0.display());
        until(&what, || self.starts(&worker.node) >= starts || worker.process.ended().unwrap().is_some()).await;
    }

    /// Waits until so many lines of a node begin with these words.
    pub(crate) async fn reaches(&self, node: &str, words: &str, count: usize) {
        let found = || self.journals.behind(node, words).len();
        assert!(
            becomes(PATIENCE, || found() >= count).await,
            "{} times `{words}` and not {count} at {node}, after {PATIENCE:?}; see {}",
            found(),
            self.journals.0.display()
        );
    }

    /// Waits until all is published, and what is stored is handled: on each of these nodes, and by their group. None of
    /// it is a dead letter, and none is missed.
    pub(crate) async fn nothing_is_lost(&self, publisher: &str, nodes: &[&str]) {
        self.reaches(publisher, "published", 1).await;
        for node in nodes {
            self.handled(publisher, &[node], "all").await;
        }
        self.handled(publisher, nodes, "group").await;
        for word in ["buried", "missed"] {
            let lines: Vec<_> = nodes.iter().flat_map(|node| self.journals.behind(node, word)).collect();
            assert!(lines.is_empty(), "{word} {lines:?}; see {}", self.journals.0.display());
        }
    }

    /// Waits until what is stored by now is handled by this handler, on any of these nodes.
    pub(crate) async fn handled(&self, publisher: &str, nodes: &[&str], handler: &str) {
        self.handled_but(publisher, nodes, handler, &[]).await;
    }

    /// The same, without some that end as dead letters.
    pub(crate) async fn handled_but(&self, publisher: &str, nodes: &[&str], handler: &str, dead: &[u32]) {
        let stored = self.journals.stored(publisher);
        assert!(!stored.is_empty(), "nothing was stored");
        let missing = || {
            let ended = self.journals.numbers(nodes, &format!("ended {handler}"));
            let missing = stored.iter().filter(|number| !ended.contains_key(number) && !dead.contains(number));
            missing.copied().collect::<Vec<_>>()
        };
        let found = becomes(PATIENCE, || missing().is_empty()).await;
        let (of, folder) = (stored.len(), self.journals.0.display());
        assert!(
            found,
            "of {of} stored, not by `{handler}` at {nodes:?} in {PATIENCE:?}: {:?}; see {folder}",
            missing()
        );
        // What its publisher was told is not stored is handled nowhere.
        let began = self.journals.numbers(nodes, &format!("began {handler}"));
        let lies: Vec<_> =
            self.journals.not_stored(publisher).into_iter().filter(|number| began.contains_key(number)).collect();
        assert!(lies.is_empty(), "said not to be stored, and handled: {lies:?}; see {folder}");
    }

    /// Checks that there are no more runs beyond the first than have a reason.
    pub(crate) fn repeats_at_most(&self, nodes: &[&str], handler: &str, reasons: usize) {
        let repeated = repeats(&self.journals.numbers(nodes, &format!("began {handler}")));
        eprintln!("{}: {repeated} repeats of `{handler}` at {nodes:?}, at most {reasons}", self.journals.0.display());
        assert!(
            repeated <= reasons,
            "{repeated} runs of `{handler}` at {nodes:?} are repeats; {reasons} have a reason"
        );
    }

    /// Checks that nodes which live on lost nothing of what the publisher was told is stored, recognised every repeat of what is
    /// for each of them, and ran no more for their group than the faults explain.
    pub(crate) async fn came_through(&self, nodes: &[&str], reasons: usize) {
        self.nothing_is_lost("publisher", nodes).await;
        for node in nodes {
            self.repeats_at_most(&[node], "all", 0);
        }
        self.repeats_at_most(nodes, "group", reasons);
    }

    /// The numbers among the dead letters, each with the durable that has it.
    pub(crate) async fn dead(&self, url: &str) -> Vec<(u32, String)> {
        let nats = Nats::connect(url).await.unwrap();
        let reader = Mediator::builder().transport(nats).generated_node().discover(false).build().await.unwrap();
        let letters = reader.dead_letters().list(None, 1_000).await.unwrap();
        reader.shutdown().await.unwrap();
        let number = |payload: &[u8]| {
            let event: serde_json::Value = serde_json::from_slice(payload).unwrap();
            u32::try_from(event["number"].as_u64().unwrap()).unwrap()
        };
        let letters = letters.iter();
        letters.map(|letter| (number(&letter.message().unwrap().payload), letter.durable.to_string())).collect()
    }
}

/// How many deliveries of each consumer the server has made, and not seen settled.
pub(crate) async fn unsettled(server: &Server) -> BTreeMap<String, usize> {
    let stream = events(server).await;
    let consumers = stream.consumers().map(|info| info.unwrap());
    consumers.map(|info| (info.name, info.num_ack_pending)).collect().await
}

/// The most events that a worker has taken and not settled: its own limit, and the deliveries that it has asked for.
pub(crate) fn in_flight(batch: usize) -> usize {
    256 + 32 * batch
}

/// What a publisher is told whose events are to meet a fault: more of them than are in flight at one time.
pub(crate) fn flow(batch: usize) -> String {
    let (events, pace_ms) = if batch == 1 { (1_000, 1) } else { (4_000, batch / 2) };
    format!("publish=0..{events} batch={batch} pace_ms={pace_ms}")
}

/// The stream of reliable events.
pub(crate) async fn events(server: &Server) -> Stream {
    let client = async_nats::connect(server.url()).await.unwrap();
    async_nats::jetstream::new(client).get_stream("catga-events").await.unwrap()
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // What cannot be removed is in the folder for what is temporary.
            let _ = fs::remove_dir_all(&self.journals.0);
        }
    }
}

impl Worker {
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    pub(crate) fn stop(&mut self) {
        self.process.signal("STOP").unwrap();
    }

    pub(crate) fn go_on(&mut self) {
        self.process.signal("CONT").unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.ended().unwrap().is_some()
    }
}

/// What it logs stands beside its journal.
fn spawn(folder: &std::path::Path, node: &str, words: &[String]) -> Process {
    let log = fs::File::options().create(true).append(true).open(folder.join(format!("{node}.log"))).unwrap();
    let mut command = Process::command(env!("CARGO_BIN_EXE_worker"), None);
    let (clocks, words): (Vec<_>, Vec<_>) = words.iter().partition(|word| word.starts_with(CLOCK));
    for clock in clocks {
        command.env("CATGA_TEST_CLOCK_AHEAD_MS", &clock[CLOCK.len()..]);
    }
    command.args(words).stdout(log.try_clone().unwrap()).stderr(log);
    Process::spawn(command).unwrap()
}
