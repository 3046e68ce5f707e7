//! Three nodes of the order service, each in a process of its own, with a NATS server between them.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use xtask::{ports::free_port, process::Process, shell::Result};

use crate::{
    demo::Nodes,
    lines::{Lines, NODES, PATIENCE, Source, says},
    service::build,
};

/// How often is looked whether a process still runs.
const LOOK: Duration = Duration::from_millis(50);

/// Three nodes; none runs until it is started. They end with this.
pub(crate) struct Processes {
    program: PathBuf,
    /// Where the server is.
    url: String,
    lines: Lines,
    source: Source,
    ports: [u16; 3],
    running: [Option<Process>; 3],
}

impl Processes {
    /// Builds the order service.
    pub(crate) fn new(url: String) -> Result<Self> {
        let (lines, source) = Lines::new();
        let ports = [free_port()?, free_port()?, free_port()?];
        Ok(Self { program: build()?, url, lines, source, ports, running: [None, None, None] })
    }

    /// Starts a node, and waits until it serves.
    pub(crate) fn start(&mut self, node: usize) -> Result {
        let (id, port) = (NODES[node], self.ports[node].to_string());
        let mut command = Process::command(&self.program, None);
        command
            .args([id, &port])
            .envs([("NATS_URL", self.url.as_str()), ("ROUTING", "round-robin"), ("RUST_LOG", "error")])
            .stdout(Stdio::piped());
        self.lines.take();
        let from = self.lines.len();
        let mut process = Process::spawn(command)?;
        self.source.clone().read(process.take_stdout());
        let deadline = Instant::now() + PATIENCE;
        while self.lines.find(from, |line| says(line, id, "Serving on")).is_none() {
            if let Some(status) = process.ended()? {
                return Err(format!("{id} ended before it served ({status})"));
            }
            if Instant::now() > deadline {
                return Err(format!("{id} does not serve after {PATIENCE:?}"));
            }
            // Nothing to read is no error here.
            let _ = self.lines.receive(Instant::now() + LOOK);
        }
        self.running[node] = Some(process);
        Ok(())
    }

    /// Ends the nodes that run, one after the other, as a service manager does; says whether each ended with code 0.
    pub(crate) fn stop(&mut self) -> Result<bool> {
        let mut well = true;
        for mut process in self.running.iter_mut().filter_map(Option::take) {
            process.signal("TERM")?;
            well &= process.wait(PATIENCE)?.is_some_and(|status| status.success());
        }
        self.lines.take();
        Ok(well)
    }

    /// The process of a node, to be paused and resumed.
    pub(crate) fn process(&mut self, node: usize) -> Result<&mut Process> {
        self.running[node].as_mut().ok_or(format!("{} does not run", NODES[node]))
    }
}

impl Nodes for Processes {
    fn lines(&mut self) -> &mut Lines {
        &mut self.lines
    }

    fn port(&self, node: usize) -> u16 {
        self.ports[node]
    }

    fn kill(&mut self, node: usize) -> Result {
        // Dropping a process kills it.
        self.running[node].take().map(drop).ok_or(format!("{} does not run", NODES[node]))
    }

    fn start_again(&mut self, node: usize) -> Result {
        self.start(node)
    }
}
