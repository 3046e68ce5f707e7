//! The order service as a child process: what it writes is read, what it is told is typed, and it never outlives us.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use xtask::{
    http,
    shell::{Result, cargo, step},
};

/// How long something that is expected of the service may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The nodes that it starts.
pub(crate) const NODES: [&str; 3] = ["node1", "node2", "node3"];

/// Three nodes of the order service, on ports that are free.
pub(crate) struct Service {
    child: Child,
    incoming: Receiver<String>,
    /// Everything that it has written.
    lines: Vec<String>,
    ports: [u16; 3],
}

/// An order as the service answered it.
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) processed_by: String,
    pub(crate) took: Duration,
}

impl Service {
    /// Builds and starts it, and waits until all its nodes serve.
    pub(crate) fn start() -> Result<Self> {
        step("the order service", &mut cargo("build --quiet -p order-service"))?;
        let own = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
        let program = own.with_file_name(format!("order-service{}", std::env::consts::EXE_SUFFIX));
        let child = Command::new(&program)
            .envs([("PORT_BASE", "0"), ("ROUTING", "round-robin"), ("RUST_LOG", "warn")])
            .env_remove("NODE_ID")
            .env_remove("NODE_PORT")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
        let (sender, incoming) = mpsc::sync_channel(10_000);
        let output = child.stdout.take();
        std::thread::spawn(move || {
            // Ends with the service.
            for line in output.into_iter().flat_map(|output| BufReader::new(output).lines()).map_while(|line| line.ok())
            {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut service = Self { child, incoming, lines: Vec::new(), ports: [0; 3] };
        for (index, node) in NODES.into_iter().enumerate() {
            let line = service.wait(&format!("{node} serves"), |line| says(line, node, "Serving on"))?;
            let port = line.rsplit(':').next().and_then(|port| port.parse().ok());
            service.ports[index] = port.ok_or_else(|| format!("no port in `{line}`"))?;
        }
        service.wait("all nodes are up", |line| line.contains("nodes are up"))?;
        Ok(service)
    }

    /// The port of a node, by its place in [`NODES`].
    pub(crate) fn port(&self, node: usize) -> u16 {
        self.ports[node]
    }

    /// Types a line into it.
    pub(crate) fn type_in(&mut self, line: &str) -> Result {
        let input = self.child.stdin.as_mut().ok_or("its input is closed")?;
        input.write_all(format!("{line}\n").as_bytes()).map_err(|error| format!("`{line}` cannot be typed: {error}"))
    }

    /// Waits for a line, also one that has come already.
    pub(crate) fn wait(&mut self, what: &str, fits: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = 0;
        loop {
            if let Some(line) = self.lines[seen..].iter().find(|line| fits(line)) {
                return Ok(line.clone());
            }
            seen = self.lines.len();
            self.receive(deadline).map_err(|error| format!("{what}: {error}"))?;
        }
    }

    /// Waits until a condition on all lines holds; says whether it did in time.
    pub(crate) fn until(&mut self, holds: impl Fn(&[String]) -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.lines) {
            if self.receive(deadline).is_err() {
                return false;
            }
        }
        true
    }

    /// Everything that it has written so far, without waiting.
    pub(crate) fn lines(&mut self) -> &[String] {
        self.lines.extend(self.incoming.try_iter());
        &self.lines
    }

    fn receive(&mut self, deadline: Instant) -> Result {
        match self.incoming.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                self.lines.push(line);
                Ok(())
            }
            Err(RecvTimeoutError::Timeout) => Err(format!("nothing of it in {PATIENCE:?}")),
            Err(RecvTimeoutError::Disconnected) => Err("the service has ended".to_owned()),
        }
    }

    /// Waits for its end; says with which code.
    pub(crate) fn ended(&mut self) -> Result<Option<i32>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status.code()),
                Ok(None) if Instant::now() >= deadline => return Err(format!("it still runs after {PATIENCE:?}")),
                Ok(None) => std::thread::sleep(Duration::from_millis(20)),
                Err(error) => return Err(format!("its end cannot be waited for: {error}")),
            }
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a line is a node's, with this text in it.
pub(crate) fn says(line: &str, node: &str, text: &str) -> bool {
    line.strip_prefix('[')
        .and_then(|line| line.split_once(']'))
        .is_some_and(|(by, rest)| by == node && rest.contains(text))
}

/// Orders something of a node.
pub(crate) fn order(port: u16) -> Result<Order> {
    let started = Instant::now();
    let answer = http::send(
        port,
        &http::Request {
            method: "POST",
            path: "/orders",
            headers: vec!["Content-Type: application/json"],
            body: r#"{"productId":"tea","quantity":2}"#,
        },
    )?;
    let took = started.elapsed();
    match (answer.status, answer.field("orderId"), answer.field("processedBy")) {
        (201, Some(id), Some(by)) => Ok(Order { id: id.to_owned(), processed_by: by.to_owned(), took }),
        (status, ..) => Err(format!("an order was answered with {status}: {}", answer.body)),
    }
}
