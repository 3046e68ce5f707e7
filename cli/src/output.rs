//! Where results are written, and what ends the work.

use std::io::{self, Write};

/// The standard output; it may be closed at any time, by `head` for example.
pub(crate) struct Output(io::StdoutLock<'static>);

/// Why the work ends before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Nobody reads the output any more.
    Closed,
    /// It failed, for this reason.
    Failed(String),
}

impl Output {
    pub(crate) fn new() -> Self {
        Self(io::stdout().lock())
    }

    /// Writes lines, and has them seen at once.
    pub(crate) fn lines(&mut self, text: &str) -> Result<(), Stop> {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let written = write!(self.0, "{text}{end}").and_then(|()| self.0.flush());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Stop::Closed,
            _ => Stop::Failed(format!("the output cannot be written: {error}")),
        })
    }
}

impl From<catga::Error> for Stop {
    fn from(error: catga::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
