//! What a worker has done, in a file that outlives it.
//!
//! One line for each thing, in one write to the end of the file: a process that is killed leaves whole lines, and what it
//! did after its restart stands behind them.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::Arc,
};

#[derive(Clone)]
pub(crate) struct Journal(Arc<File>);

impl Journal {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(File::options().create(true).append(true).open(path)?)))
    }

    /// Writes a line.
    pub(crate) fn line(&self, line: impl AsRef<str>) {
        self.lines([line]);
    }

    /// Writes lines, all or none.
    pub(crate) fn lines(&self, lines: impl IntoIterator<Item = impl AsRef<str>>) {
        let text: String = lines.into_iter().map(|line| format!("{}\n", line.as_ref())).collect();
        // Without its journal a worker proves nothing.
        (&*self.0).write_all(text.as_bytes()).expect("the journal takes a line");
    }
}
