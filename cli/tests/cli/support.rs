//! The tool, and what it says.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use xtask::nats::{Server, ServerOptions};

/// How long a test waits for what is to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server of its own.
pub(crate) fn server() -> Server {
    Server::start(&ServerOptions::default()).unwrap()
}

/// The tool, against the server at this address.
pub(crate) fn tool(url: &str, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_catga"));
    // What it says is counted in lines, also when a client dies beside it.
    command.env("RUST_BACKTRACE", "0");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("NATS_")) {
        command.env_remove(name);
    }
    command.args(arguments.split_whitespace()).env("NATS_URL", url).stdin(Stdio::null());
    command
}

/// What a run of the tool came to.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// Runs the tool to its end.
pub(crate) fn run(url: &str, arguments: &str) -> Said {
    let Output { status, stdout, stderr } = tool(url, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code(), output: text(stdout), errors: text(stderr) }
}

/// Runs the tool, which is to succeed, and gives its output.
pub(crate) fn output(url: &str, arguments: &str) -> String {
    let said = run(url, arguments);
    assert_eq!((said.code, said.errors.as_str()), (Some(0), ""), "catga {arguments}");
    said.output
}

/// The tool while it taps; it does not outlive this value.
pub(crate) struct Tapping {
    child: Child,
    pub(crate) output: Receiver<String>,
    pub(crate) errors: Receiver<String>,
}

impl Tapping {
    /// Starts it; it listens when this returns. Its output is read only from [`read`](Self::read) on.
    pub(crate) fn start(url: &str, arguments: &str) -> Self {
        let mut child = tool(url, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let errors = lines(child.stderr.take().unwrap());
        let (_, nothing) = channel();
        let tapping = Self { child, output: nothing, errors };
        let said = tapping.errors.recv_timeout(PATIENCE).expect("it says that it listens");
        assert_eq!(said, "catga: listening, Ctrl-C ends it");
        tapping
    }

    /// Begins to read its output.
    pub(crate) fn read(mut self) -> Self {
        self.output = lines(self.child.stdout.take().unwrap());
        self
    }

    /// Waits for a line with all these parts, and gives it.
    pub(crate) fn line(&self, parts: &[&str]) -> String {
        let mut seen = Vec::new();
        // For all of them: nodes say something of themselves every few seconds.
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if parts.iter().all(|part| line.contains(part)) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("no line has {parts:?} among\n{}", seen.join("\n")),
            }
        }
    }

    /// Closes the reading end of its output.
    pub(crate) fn close(&mut self) {
        drop(self.child.stdout.take());
    }

    pub(crate) fn interrupt(&mut self) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end, and gives its exit code.
    pub(crate) fn code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status.code(),
                None if Instant::now() > deadline => panic!("it does not end"),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for Tapping {
    fn drop(&mut self) {
        // One that has ended is waited for, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a stream, as they come.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}
