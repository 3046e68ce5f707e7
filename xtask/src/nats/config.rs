//! The configuration of one server: its ports, its directory, and the text that makes it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{ports::free_port, shell::Result};

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    /// For clients.
    pub(super) client: u16,
    /// For questions over HTTP about how it is.
    pub(super) monitor: u16,
}

impl Ports {
    pub(super) fn free() -> Result<Self> {
        Ok(Self { client: free_port()?, monitor: free_port()? })
    }
}

/// A new directory, which is removed at the end.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new(name: &str) -> Result<Self> {
        let path = env::temp_dir().join(name);
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("server.log")
    }

    /// Writes the configuration, and says where it is.
    pub(super) fn write(&self, name: &str, ports: Ports, further: &str) -> Result<PathBuf> {
        let path = self.0.join("server.conf");
        let text = text(name, ports, &self.0.join("store"), further);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed is in the folder for what is temporary.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The store has a limit of its own, so that what a test may store does not depend on how full the disk is; it is no
/// reservation. What is said twice counts as it is said last.
fn text(name: &str, ports: Ports, store: &Path, further: &str) -> String {
    let Ports { client, monitor } = ports;
    format!(
        "server_name: {name:?}\nlisten: \"127.0.0.1:{client}\"\nhttp: \"127.0.0.1:{monitor}\"\n\
         jetstream {{ store_dir: {store:?}, max_memory_store: 1GB, max_file_store: 64GB }}\n{further}\n"
    )
}
