//! The tool, and what it says.

use std::process::{Command, Output, Stdio};

use xtask::nats::{Server, ServerOptions};

/// A server of its own.
pub(crate) fn server() -> Server {
    Server::start(&ServerOptions::default()).unwrap()
}

/// The tool, against the server at this address.
pub(crate) fn tool(url: &str, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_catga"));
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
