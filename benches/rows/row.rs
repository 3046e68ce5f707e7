//! The rows: what each does, with how many callers, and beside what; and one run of one side.

use std::time::{Duration, Instant};

use serde::Serialize;
use xtask::nats::{Server, ServerOptions};

use crate::{Result, bare, inside, load::Load, ours, stats::percentile, text, usage::Usage};

/// The longest a run may take, whatever goes wrong.
const LIMIT: Duration = Duration::from_secs(60);
/// How long the server may take to have heard of everything.
const PATIENCE: Duration = Duration::from_secs(10);

/// One row of the table.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Row {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is called in the table.
    pub title: &'static str,
    /// What the twin is.
    pub twin: &'static str,
    /// How many calls are under way at the same time.
    pub callers: u64,
    /// What is done.
    #[serde(skip)]
    pub work: Work,
}

/// What a row does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// QoS 0 from one node to another.
    Publish,
    /// QoS 1 into the store, by callers who wait; the twin has as many.
    Store,
    /// The same beside one publisher who keeps a window of messages in flight.
    StoreWindow,
    /// QoS 1 into the store, by `publish_all`; the twin keeps a window.
    StoreAll,
    /// QoS 1 out of the store.
    Deliver,
    /// Requests.
    Ask,
    /// Inside a process, without layers or with the default ones.
    Send { layers: bool },
}

/// All rows.
pub const ROWS: [Row; 10] = [
    row(
        "publish",
        "QoS 0, publish to handler, two connections",
        "client.publish and a subscription",
        16,
        Work::Publish,
    ),
    row("store", "QoS 1, publish acknowledged", "each caller waits for its own acknowledgement", 256, Work::Store),
    row("store-window", "QoS 1, publish acknowledged", "one publisher, 512 in flight", 256, Work::StoreWindow),
    row("store-all", "QoS 1, `publish_all`", "one publisher, 512 in flight", 1, Work::StoreAll),
    row("store-one", "QoS 1, publish acknowledged", "one at a time", 1, Work::Store),
    row("deliver", "QoS 1, deliver, handle, acknowledge", "a pull consumer, 1,000 a pull", 1, Work::Deliver),
    row("ask", "request and reply", "client.request, answered inline", 256, Work::Ask),
    row("ask-one", "request and reply", "client.request, answered inline", 1, Work::Ask),
    row("send-plain", "in process, `send`, no layers", "a boxed call", 1, Work::Send { layers: false }),
    row("send", "in process, `send`, default stack", "a boxed call", 1, Work::Send { layers: true }),
];

const fn row(name: &'static str, title: &'static str, twin: &'static str, callers: u64, work: Work) -> Row {
    Row { name, title, twin, callers, work }
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// catga.
    Ours,
    /// The native twin.
    Bare,
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
}

/// One run.
pub struct Run<'a> {
    /// Where it runs.
    pub server: &'a Server,
    /// What nothing else is called on this server.
    pub name: String,
    /// How long it takes.
    pub time: Duration,
    /// How many messages wait in the store before they are delivered.
    pub prefilled: u64,
    /// Messages on the wire for each call.
    legs: u64,
    before: Option<Usage>,
    figure: Figure,
}

impl Row {
    /// Runs one side, on a server and a runtime of its own: what a run leaves behind does not slow down the next.
    pub fn measure(&self, side: Side, name: String, time: Duration) -> Result<Figure> {
        if let Work::Send { layers } = self.work {
            return Ok(inside::send(side, layers, time));
        }
        let server = Server::start(&ServerOptions::default())?;
        let runtime = tokio::runtime::Runtime::new().map_err(text)?;
        let work = self.run(side, &server, name, time);
        let figure = runtime.block_on(async { tokio::time::timeout(LIMIT, work).await });
        runtime.shutdown_background();
        figure.unwrap_or_else(|_| Err(format!("it did not end within {LIMIT:?}: messages are missing")))
    }

    async fn run(&self, side: Side, server: &Server, name: String, time: Duration) -> Result<Figure> {
        let legs = if self.work == Work::Ask { 2 } else { 1 };
        // About as many as are delivered in that time.
        let prefilled =
            u64::try_from(time.as_millis()).unwrap_or_default() * if side == Side::Ours { 200 } else { 100 };
        let mut run = Run { server, name, time, prefilled, legs, before: None, figure: Figure::default() };
        match (self.work, side) {
            (Work::Publish, Side::Ours) => ours::publish(&mut run, self.callers).await?,
            (Work::Publish, Side::Bare) => bare::publish(&mut run, self.callers).await?,
            (Work::Store | Work::StoreWindow, Side::Ours) => ours::store(&mut run, self.callers).await?,
            (Work::Store, Side::Bare) => bare::store(&mut run, self.callers).await?,
            (Work::StoreAll, Side::Ours) => ours::store_all(&mut run).await?,
            (Work::StoreWindow | Work::StoreAll, Side::Bare) => bare::store_window(&mut run).await?,
            (Work::Deliver, Side::Ours) => ours::deliver(&mut run).await?,
            (Work::Deliver, Side::Bare) => bare::deliver(&mut run).await?,
            (Work::Ask, Side::Ours) => ours::ask(&mut run, self.callers).await?,
            (Work::Ask, Side::Bare) => bare::ask(&mut run, self.callers).await?,
            (Work::Send { .. }, _) => return Err("needs no server".to_owned()),
        }
        Ok(run.figure)
    }
}

impl Run<'_> {
    /// What follows is measured.
    pub fn start(&mut self) -> Result {
        self.before = Some(Usage::now(self.server)?);
        Ok(())
    }

    /// What was measured.
    pub fn stop(&mut self, load: &Load) -> Result {
        let used = self.used()?;
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
        self.figure.frame = Some((messages * self.legs) as f64 / frames);
    }

    /// Waits until the server knows that everything was handled.
    pub async fn until_acknowledged(&self) -> Result {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let consumers = self.server.monitor("/jsz?consumers=true")?.body;
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
