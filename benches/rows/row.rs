//! The rows: what each does, with how many callers, and beside what; and one run of one side.

use std::time::{Duration, Instant};

use serde::Serialize;
use xtask::nats::{Server, ServerOptions};

use super::{
    Result, bare,
    counts::{Counts, Watch},
    http, inside,
    load::{Callers, Load},
    ours,
    stats::percentile,
    text, tuned,
    usage::Usage,
};

/// The longest a run may take, whatever goes wrong.
const LIMIT: Duration = Duration::from_secs(60);
/// How long the server may take to have heard of everything.
const PATIENCE: Duration = Duration::from_secs(10);

/// One row of the table.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Row {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is asked for together with; the rows of [`MAIN`] are those that nobody has to ask for.
    pub group: &'static str,
    /// What it is called in the table.
    pub title: &'static str,
    /// What the twin is.
    pub twin: &'static str,
    /// How many calls are under way at the same time.
    pub callers: u64,
    /// About how many bytes a message has; none is the 70 of most rows.
    pub size: Option<usize>,
    /// Whether the load is a part of what the twin can do, the same for both sides.
    pub paced: bool,
    /// What is done.
    #[serde(skip)]
    pub work: Work,
}

/// What a row does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// The same as another row, beside what the client has no function for.
    Tuned(&'static Work),
    /// QoS 0 from one node to another.
    Publish,
    /// QoS 1 into the store, by callers who wait; the twin has as many.
    Store,
    /// The same; the twin gives each an id, too.
    StoreOnce,
    /// The same beside one publisher who keeps a window of messages in flight.
    StoreWindow,
    /// QoS 1 into the store, by `publish_all`; the twin keeps a window.
    StoreAll,
    /// QoS 1 out of the store.
    Deliver,
    /// Requests.
    Ask,
    /// Requests to a handler that sleeps for [`ASLEEP`].
    AskSlow,
    /// Orders over HTTP.
    Http {
        /// The first of so many nodes gets them.
        nodes: usize,
    },
    /// Inside a process.
    Send {
        /// Whether the default layers are there.
        layers: bool,
    },
    /// Inside a process, from so many tasks.
    Tasks(Keys),
}

/// Which keys requests have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// None.
    None,
    /// Each a key of its own: it is looked up, claimed and remembered.
    New,
    /// One that was answered before: it is looked up and not run.
    Repeated,
}

/// How long a handler sleeps where it does.
pub const ASLEEP: Duration = Duration::from_millis(1);
/// Which part of the twin's most a paced load is.
pub const PART: f64 = 0.3;

/// The group of the rows that are run when none is named.
pub const MAIN: &str = "main";
const SIZES: &str = "sizes";
const LOADS: &str = "loads";
const TASKS: &str = "tasks";
const TUNED: &str = "tuned";

const KB: usize = 1024;

const TWO: &str = "client.publish and a subscription";
const WINDOW: &str = "one publisher, 512 in flight";
const AXUM: &str = "axum that does nothing else";
const INLINE: &str = "client.request, answered inline";

const OWN: &str = "an inbox for each caller, no time limits";
const AHEAD: &str = "one publisher, one inbox, 1,024 in flight";
const ACK_ALL: &str = "pulls by hand, one acknowledgement for 32";

/// All rows.
pub const ROWS: [Row; 33] = [
    row("publish", "QoS 0, publish to handler, two connections", TWO, 16, Work::Publish),
    row("store", "QoS 1, publish acknowledged", "each caller waits for its own acknowledgement", 256, Work::Store),
    row("store-window", "QoS 1, publish acknowledged", WINDOW, 256, Work::StoreWindow),
    row("store-all", "QoS 1, `publish_all`", WINDOW, 1, Work::StoreAll),
    row("store-one", "QoS 1, publish acknowledged", "one at a time", 1, Work::Store),
    row("store-once", "QoS 1, publish acknowledged", "one at a time, each with an id", 1, Work::StoreOnce),
    row("deliver", "QoS 1, deliver, handle, acknowledge", "a pull consumer, 1,000 a pull", 1, Work::Deliver),
    row("ask", "request and reply", INLINE, 256, Work::Ask),
    row("ask-one", "request and reply", INLINE, 1, Work::Ask),
    row("send-plain", "in process, `send`, no layers", "a boxed call", 1, Work::Send { layers: false }),
    row("send", "in process, `send`, default stack", "a boxed call", 1, Work::Send { layers: true }),
    row("http", "POST /orders, three nodes", AXUM, http::CONNECTIONS, Work::Http { nodes: 3 }),
    row("http-alone", "POST /orders, one node", AXUM, http::CONNECTIONS, Work::Http { nodes: 1 }),
    row("store-tuned", "QoS 1, publish acknowledged", OWN, 256, Work::Tuned(&Work::Store)).of(TUNED),
    row("window-tuned", "QoS 1, publish acknowledged", AHEAD, 256, Work::Tuned(&Work::StoreWindow)).of(TUNED),
    row("all-tuned", "QoS 1, `publish_all`", AHEAD, 1, Work::Tuned(&Work::StoreAll)).of(TUNED),
    row("deliver-tuned", "QoS 1, deliver, handle, acknowledge", ACK_ALL, 1, Work::Tuned(&Work::Deliver)).of(TUNED),
    row("ask-tuned", "request and reply", OWN, 256, Work::Tuned(&Work::Ask)).of(TUNED),
    row("publish-1k", "QoS 0, publish to handler, 1 KB", TWO, 16, Work::Publish).sized(KB),
    row("publish-64k", "QoS 0, publish to handler, 64 KB", TWO, 16, Work::Publish).sized(64 * KB),
    row("store-1k", "QoS 1, publish acknowledged, 1 KB", WINDOW, 256, Work::StoreWindow).sized(KB),
    row("store-64k", "QoS 1, publish acknowledged, 64 KB", "one publisher, 256 in flight", 256, Work::StoreWindow)
        .sized(64 * KB),
    row("ask-1k", "request and reply, 1 KB", INLINE, 256, Work::Ask).sized(KB),
    row("ask-64k", "request and reply, 64 KB", INLINE, 256, Work::Ask).sized(64 * KB),
    row("ask-asleep", "request and reply, the handler sleeps 1 ms", "client.request, a task each", 256, Work::AskSlow)
        .of(LOADS),
    row("publish-paced", "QoS 0 at 30 % of the twin's most", TWO, 16, Work::Publish).paced(),
    row("ask-paced", "request and reply at 30 % of the twin's most", INLINE, 256, Work::Ask).paced(),
    row("task", "in process, `send` in a task", "a boxed call", 1, Work::Tasks(Keys::None)).of(TASKS),
    row("tasks", "in process, `send` in tasks", "a boxed call", 8, Work::Tasks(Keys::None)).of(TASKS),
    row("key", "in process, `send_with`, new keys", "a boxed call", 1, Work::Tasks(Keys::New)).of(TASKS),
    row("keys", "in process, `send_with`, new keys", "a boxed call", 8, Work::Tasks(Keys::New)).of(TASKS),
    row("repeat", "in process, `send_with`, a known key", "a boxed call", 1, Work::Tasks(Keys::Repeated)).of(TASKS),
    row("repeats", "in process, `send_with`, known keys", "a boxed call", 8, Work::Tasks(Keys::Repeated)).of(TASKS),
];

const fn row(name: &'static str, title: &'static str, twin: &'static str, callers: u64, work: Work) -> Row {
    Row { name, group: MAIN, title, twin, callers, size: None, paced: false, work }
}

impl Row {
    const fn of(self, group: &'static str) -> Self {
        Self { group, ..self }
    }

    const fn sized(self, size: usize) -> Self {
        Self { size: Some(size), ..self.of(SIZES) }
    }

    const fn paced(self) -> Self {
        Self { paced: true, ..self.of(LOADS) }
    }
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// catga.
    Ours,
    /// The native twin.
    Bare,
}

impl Side {
    /// As it is called on the command line.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "catga" => Some(Self::Ours),
            "bare" => Some(Self::Bare),
            _ => None,
        }
    }
}

/// What one run showed.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Figure {
    /// Messages a second.
    pub per_second: f64,
    /// How many there were.
    pub messages: u64,
    /// Messages in each that the wire carried.
    pub frame: Option<f64>,
    /// How long half of the calls took at most, in microseconds.
    pub p50_us: Option<f64>,
    /// And 99 of 100.
    pub p99_us: Option<f64>,
    /// Processor time of this process for each message, in microseconds.
    pub client_us: Option<f64>,
    /// And of the server.
    pub server_us: Option<f64>,
    /// What is counted where it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
}

/// One run.
pub struct Run<'a> {
    /// Which row it is of.
    pub row: Row,
    /// Who calls.
    pub callers: Callers,
    /// Where it runs.
    pub server: &'a Server,
    /// What nothing else is called on this server.
    pub name: String,
    /// How long it takes.
    pub time: Duration,
    /// How many messages wait in the store before they are delivered.
    pub prefilled: u64,
    before: Option<Usage>,
    watch: Option<Watch>,
    figure: Figure,
}

impl Row {
    /// Runs one side, on a server and a runtime of its own: what a run leaves behind does not slow down the next. A pace is
    /// so many calls a second; without one callers call as fast as they can.
    pub fn measure(&self, side: Side, name: String, time: Duration, pace: Option<f64>) -> Result<Figure> {
        match self.work {
            Work::Send { layers } => return Ok(inside::send(side, layers, time)),
            Work::Tasks(keys) => return inside::tasks(side, self.callers, keys, time),
            Work::Http { nodes } => return http::measure(side, nodes, time),
            _ => {}
        }
        // About as many as are delivered in a millisecond.
        let delivered = if side == Side::Ours { 200 } else { 100 };
        self.on_server(name, time, pace, delivered, async |run| self.run(side, run).await)
    }

    /// The same for work of any kind; so many messages are delivered in a millisecond, where they are.
    pub fn on_server(
        &self,
        name: String,
        time: Duration,
        pace: Option<f64>,
        delivered: u64,
        work: impl AsyncFnOnce(&mut Run<'_>) -> Result,
    ) -> Result<Figure> {
        let server = Server::start(&ServerOptions::default())?;
        let runtime = tokio::runtime::Runtime::new().map_err(text)?;
        let prefilled = u64::try_from(time.as_millis()).unwrap_or_default() * delivered;
        let callers = Callers { number: self.callers, pace };
        let figure = Figure::default();
        let mut run =
            Run { row: *self, callers, server: &server, name, time, prefilled, before: None, watch: None, figure };
        let ended = runtime.block_on(async { tokio::time::timeout(LIMIT, work(&mut run)).await });
        runtime.shutdown_background();
        ended.unwrap_or_else(|_| Err(format!("it did not end within {LIMIT:?}: messages are missing")))?;
        Ok(run.figure)
    }

    async fn run(&self, side: Side, run: &mut Run<'_>) -> Result {
        let work = match (self.work, side) {
            (Work::Tuned(Work::Store), Side::Bare) => return tuned::store(run).await,
            (Work::Tuned(Work::StoreWindow | Work::StoreAll), Side::Bare) => return tuned::store_window(run).await,
            (Work::Tuned(Work::Deliver), Side::Bare) => return tuned::deliver(run).await,
            (Work::Tuned(Work::Ask), Side::Bare) => return tuned::ask(run).await,
            (Work::Tuned(work), _) => *work,
            (work, _) => work,
        };
        match (work, side) {
            (Work::Publish, Side::Ours) => ours::publish(run).await,
            (Work::Publish, Side::Bare) => bare::publish(run).await,
            (Work::Store | Work::StoreOnce | Work::StoreWindow, Side::Ours) => ours::store(run).await,
            (Work::Store, Side::Bare) => bare::store(run, false).await,
            (Work::StoreOnce, Side::Bare) => bare::store(run, true).await,
            (Work::StoreAll, Side::Ours) => ours::store_all(run).await,
            (Work::StoreWindow | Work::StoreAll, Side::Bare) => bare::store_window(run).await,
            (Work::Deliver, Side::Ours) => ours::deliver(run).await,
            (Work::Deliver, Side::Bare) => bare::deliver(run).await,
            (Work::Ask | Work::AskSlow, Side::Ours) => ours::ask(run).await,
            (Work::Ask | Work::AskSlow, Side::Bare) => bare::ask(run).await,
            (Work::Send { .. } | Work::Tasks(_) | Work::Http { .. } | Work::Tuned(_), _) => {
                Err("has a server of its own, or none".to_owned())
            }
        }
    }
}

impl Run<'_> {
    /// What follows is measured.
    pub fn start(&mut self) -> Result {
        self.watch = None;
        self.watch = Watch::start()?;
        self.before = Some(Usage::now(self.server)?);
        Ok(())
    }

    /// What was measured.
    pub fn stop(&mut self, load: &Load) -> Result {
        let used = self.used()?;
        let counts = self.watch.take().map(|watch| watch.stop(load.calls)).transpose()?;
        let calls = load.calls as f64;
        let wait = |percent| percentile(&load.waits, percent).map(|nanoseconds| f64::from(nanoseconds) / 1_000.0);
        self.figure = Figure {
            per_second: calls / load.took.as_secs_f64(),
            messages: load.calls,
            frame: None,
            p50_us: wait(50),
            p99_us: wait(99),
            client_us: Some(used.client_us / calls),
            server_us: Some(used.server_us / calls),
            counts,
        };
        self.messages_a_frame(load.calls, used.taken);
        Ok(())
    }

    /// How many messages the server has taken since the start.
    pub fn frames(&self) -> Result<f64> {
        Ok(self.used()?.taken)
    }

    fn used(&self) -> Result<Usage> {
        let before = self.before.ok_or("nothing was started")?;
        Ok(Usage::now(self.server)?.since(&before))
    }

    /// Where the server took something else, too, while it was measured.
    pub fn messages_a_frame(&mut self, messages: u64, frames: f64) {
        // There and back.
        let legs = if matches!(self.row.work, Work::Ask | Work::AskSlow | Work::Tuned(Work::Ask)) { 2 } else { 1 };
        self.figure.frame = Some((messages * legs) as f64 / frames);
    }
}

/// Waits until the server knows that everything was handled.
pub async fn until_acknowledged(server: &Server) -> Result {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let consumers = server.monitor("/jsz?consumers=true")?.body;
        let open = total(&consumers, "num_ack_pending") + total(&consumers, "num_pending");
        if open == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("{open} deliveries are not acknowledged"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The sum of all numbers under this name in a JSON text.
fn total(json: &str, name: &str) -> u64 {
    let name = format!("\"{name}\":");
    let values = json.split(&name).skip(1);
    values.filter_map(|rest| rest.split([',', '}']).next()?.trim().parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_under_a_name_are_added_up() {
        let text = r#"[{"num_pending": 3, "x": 1}, {"a": {"num_pending":4}}]"#;
        assert_eq!(total(text, "num_pending"), 7);
        assert_eq!(total(text, "absent"), 0);
    }
}
