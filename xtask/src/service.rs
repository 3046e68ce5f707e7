//! Three nodes of the order service in one child process: what it writes is read, and what it is told is typed.

use std::{
    io::Write,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use xtask::shell::{Result, cargo, step};

use crate::{
    demo::Nodes,
    lines::{Lines, NODES, PATIENCE, says},
};

/// Three nodes, on ports that are free.
pub(crate) struct Service {
    child: Child,
    lines: Lines,
    ports: [u16; 3],
}

/// Builds the order service, and says where it is.
pub(crate) fn build() -> Result<PathBuf> {
    step("the order service", &mut cargo("build --quiet -p order-service"))?;
    let own = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    Ok(own.with_file_name(format!("order-service{}", std::env::consts::EXE_SUFFIX)))
}

impl Service {
    /// Builds and starts it, and waits until all its nodes serve.
    pub(crate) fn start() -> Result<Self> {
        let program = build()?;
        let child = Command::new(&program)
            .envs([("PORT_BASE", "0"), ("ROUTING", "round-robin"), ("RUST_LOG", "warn")])
            .env_remove("NODE_ID")
            .env_remove("NODE_PORT")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
        let (lines, source) = Lines::new();
        source.read(child.stdout.take());
        let mut service = Self { child, lines, ports: [0; 3] };
        for (index, node) in NODES.into_iter().enumerate() {
            let line = service.lines.wait(0, &format!("{node} serves"), |line| says(line, node, "Serving on"))?;
            let port = line.rsplit(':').next().and_then(|port| port.parse().ok());
            service.ports[index] = port.ok_or_else(|| format!("no port in `{line}`"))?;
        }
        service.lines.wait(0, "all nodes are up", |line| line.contains("nodes are up"))?;
        Ok(service)
    }

    /// Types a line into it, and waits for what a node says to that.
    fn tell(&mut self, told: &str, node: usize, answer: &str) -> Result {
        self.lines.take();
        let from = self.lines.len();
        self.type_in(told)?;
        self.lines.wait(from, told, |line| says(line, NODES[node], answer)).map(|_| ())
    }

    fn type_in(&mut self, line: &str) -> Result {
        let input = self.child.stdin.as_mut().ok_or("its input is closed")?;
        input.write_all(format!("{line}\n").as_bytes()).map_err(|error| format!("`{line}` cannot be typed: {error}"))
    }

    /// Ends it by `quit`; says with which code.
    pub(crate) fn quit(&mut self) -> Result<Option<i32>> {
        self.type_in("quit")?;
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

impl Nodes for Service {
    fn lines(&mut self) -> &mut Lines {
        &mut self.lines
    }

    fn port(&self, node: usize) -> u16 {
        self.ports[node]
    }

    fn kill(&mut self, node: usize) -> Result {
        self.tell(&format!("kill {}", NODES[node]), node, "Killed")
    }

    fn start_again(&mut self, node: usize) -> Result {
        self.tell(&format!("start {}", NODES[node]), node, "Serving on")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
