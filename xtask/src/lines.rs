//! What nodes of the order service write: read as it comes, and counted.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    process::ChildStdout,
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    time::{Duration, Instant},
};

use xtask::shell::Result;

/// How long something that is expected of the service may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// What a line of an event of QoS 0 says, and one of QoS 1.
pub(crate) const QOS: [&str; 2] = ["[QoS 0] Order created", "[QoS 1] Order shipped"];
/// The nodes, by their place.
pub(crate) const NODES: [&str; 3] = ["node1", "node2", "node3"];
/// How many lines wait to be read; beyond, the service waits.
const WAITING: usize = 10_000;

/// Everything that was written so far.
pub(crate) struct Lines {
    incoming: Receiver<String>,
    all: Vec<String>,
    /// How often a node has said that it handled an event of an order: by node, by its place in [`QOS`], by id.
    handled: HashMap<(String, usize, String), usize>,
}

/// Where lines come in; they end when the last of these is gone.
#[derive(Clone)]
pub(crate) struct Source(SyncSender<String>);

impl Source {
    /// Reads a process to its end.
    pub(crate) fn read(self, output: Option<ChildStdout>) {
        std::thread::spawn(move || {
            let lines = output.into_iter().flat_map(|output| BufReader::new(output).lines());
            for line in lines.map_while(|line| line.ok()) {
                if self.0.send(line).is_err() {
                    return;
                }
            }
        });
    }
}

impl Lines {
    pub(crate) fn new() -> (Self, Source) {
        let (sender, incoming) = mpsc::sync_channel(WAITING);
        (Self { incoming, all: Vec::new(), handled: HashMap::new() }, Source(sender))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The first line from this place on that fits, of those that have come.
    pub(crate) fn find(&self, from: usize, fits: impl Fn(&str) -> bool) -> Option<&str> {
        self.all[from..].iter().map(String::as_str).find(|line| fits(line))
    }

    /// Waits for a line from this place on, also if it has come already.
    pub(crate) fn wait(&mut self, from: usize, what: &str, fits: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = from;
        loop {
            if let Some(line) = self.find(seen, &fits) {
                return Ok(line.to_owned());
            }
            seen = self.len();
            self.receive(deadline).map_err(|error| format!("{what}: {error}"))?;
        }
    }

    /// Waits until a condition on all lines holds; says whether it did in time.
    pub(crate) fn until(&mut self, holds: impl Fn(&Self) -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        self.take();
        while !holds(self) {
            if self.receive(deadline).is_err() {
                return false;
            }
            self.take();
        }
        true
    }

    /// Takes what has come, without waiting.
    pub(crate) fn take(&mut self) {
        while let Ok(line) = self.incoming.try_recv() {
            self.push(line);
        }
    }

    /// Waits for the next line.
    pub(crate) fn receive(&mut self, deadline: Instant) -> Result {
        match self.incoming.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                self.push(line);
                Ok(())
            }
            Err(RecvTimeoutError::Timeout) => Err(format!("nothing of it in {PATIENCE:?}")),
            Err(RecvTimeoutError::Disconnected) => Err("the service has ended".to_owned()),
        }
    }

    fn push(&mut self, line: String) {
        let event = QOS.iter().position(|qos| line.contains(qos));
        let (node, id) = (speaker(&line), line.rsplit(' ').next());
        if let (Some(event), Some((node, _)), Some(id)) = (event, node, id) {
            *self.handled.entry((node.to_owned(), event, id.to_owned())).or_default() += 1;
        }
        self.all.push(line);
    }

    /// How often a node has said that it handled this event of an order.
    pub(crate) fn handled(&self, node: &str, event: usize, id: &str) -> usize {
        self.handled.get(&(node.to_owned(), event, id.to_owned())).copied().unwrap_or_default()
    }

    /// Whether each node has handled this event of each order once.
    pub(crate) fn once_everywhere(&self, event: usize, ids: &[String]) -> bool {
        NODES.iter().all(|node| ids.iter().all(|id| self.handled(node, event, id) == 1))
    }

    /// How many of these orders a node has this event of.
    pub(crate) fn known(&self, node: &str, event: usize, ids: &[String]) -> usize {
        ids.iter().filter(|id| self.handled(node, event, id) > 0).count()
    }
}

/// The node that wrote a line, and the rest: `[node1] ..`.
fn speaker(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix('[')?.split_once(']')
}

/// Whether a line is a node's, with this text in it.
pub(crate) fn says(line: &str, node: &str, text: &str) -> bool {
    speaker(line).is_some_and(|(by, rest)| by == node && rest.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_handled_is_counted_for_each_order_and_event() {
        let (mut lines, _source) = Lines::new();
        for line in
            ["[node1] 📝 [QoS 0] Order created: a-1", "[node1] 📦 [QoS 1] Order shipped: a-1", "[node1] 👋 Stopped"]
        {
            lines.push(line.to_owned());
        }
        lines.push("[node1] 📦 [QoS 1] Order shipped: a-1".to_owned());
        let count = |node, event| lines.handled(node, event, "a-1");
        assert_eq!((count("node1", 0), count("node1", 1), count("node2", 1)), (1, 2, 0));
        assert_eq!(lines.known("node1", 1, &["a-1".to_owned(), "a-2".to_owned()]), 1);
        assert!(lines.find(2, |line| says(line, "node1", "Stopped")).is_some());
    }
}
