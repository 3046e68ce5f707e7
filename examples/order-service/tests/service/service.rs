//! The program under test.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How long a test waits for anything; on a busy machine, things take their time.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The program, without what the environment of the tests may say.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_order-service"));
    for variable in ["NODE_ID", "NODE_PORT", "LISTEN", "PORT_BASE", "NATS_URL", "ROUTING", "QUIET", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The program while it runs; it ends with the test.
pub struct Service {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// Reads what it says on stderr, and shows it beside the test.
    errors: Option<JoinHandle<String>>,
    /// What it has said so far.
    pub said: Vec<String>,
    pub ports: Vec<u16>,
}

impl Service {
    /// Three nodes on free ports.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(variables: &[(&str, &str)]) -> Self {
        let mut command = command(&[]);
        command.env("PORT_BASE", "0").envs(variables.iter().copied());
        let mut service = Self::spawn(command);
        service.wait_for("Three nodes are up");
        assert_eq!(service.ports.len(), 3);
        service
    }

    /// One node on a free port.
    pub fn start_one() -> Self {
        let mut service = Self::spawn(command(&["node1", "0"]));
        service.wait_for("[node1] 🚀 Serving");
        service
    }

    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let errors = BufReader::new(child.stderr.take().unwrap());
        let errors = std::thread::spawn(move || {
            let lines = errors.lines().map_while(Result::ok);
            lines.inspect(|line| eprintln!("{line}")).map(|line| line + "\n").collect()
        });
        let input = child.stdin.take();
        Self { child, input, lines, errors: Some(errors), said: Vec::new(), ports: Vec::new() }
    }

    /// Waits until a line holds this text, and gives the first that does.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        self.wait_for_times(text, 1);
        self.said.iter().find(|line| line.contains(text)).unwrap().clone()
    }

    /// Waits until so many lines hold this text.
    #[track_caller]
    pub fn wait_for_times(&mut self, text: &str, times: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut found = self.count(text);
        while found < times {
            let Some(line) = self.next_line(deadline) else {
                panic!("{text:?} was said {found} times, not {times}: {:#?}", self.said);
            };
            found += usize::from(line.contains(text));
        }
    }

    /// The next line; none after the deadline or the last line.
    pub fn next_line(&mut self, deadline: Instant) -> Option<&str> {
        let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()?;
        if let Some((_, port)) = line.split_once("🚀 Serving on http://localhost:") {
            let port = port.parse().unwrap();
            if !self.ports.contains(&port) {
                self.ports.push(port);
            }
        }
        self.said.push(line);
        self.said.last().map(String::as_str)
    }

    /// How many lines that were read hold this text.
    pub fn count(&self, text: &str) -> usize {
        self.said.iter().filter(|line| line.contains(text)).count()
    }

    pub fn type_in(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Ends its input, as for a service that runs in the background.
    pub fn end_input(&mut self) {
        self.input = None;
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end, and reads what is left.
    #[track_caller]
    pub fn end(&mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        // The output ends with the process.
        while self.next_line(deadline).is_some() {}
        assert!(Instant::now() < deadline, "it goes on: {:#?}", self.said);
        let errors = self.errors.take().unwrap().join().unwrap();
        (self.child.wait().unwrap(), errors)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until a question is answered.
#[track_caller]
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::yield_now();
    }
}
