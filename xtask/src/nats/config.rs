//! The configuration of one server: its ports, its directory, and the text that makes it.

use std::{
    env, fs,
    hash::{BuildHasher, RandomState},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use crate::shell::Result;

/// Below the range from which systems take ports for connections. There, a client that tries again and again to reach a
/// server that is away would some day be given the server's own port, and talk to itself.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

/// How often a port is drawn before none is said to be free.
const DRAWS: usize = 1_000;

/// What nobody else on this machine has, and no other call gives.
pub(super) fn unique() -> u64 {
    // The standard library seeds each of these by chance.
    RandomState::new().hash_one(0)
}

/// A port that was free a moment ago. Another process may take it before the server does, which then says so.
pub(super) fn free_port() -> Result<u16> {
    let size = u64::from(PORTS.end - PORTS.start);
    let mut drawn = (0..DRAWS).map(|_| PORTS.start + (unique() % size) as u16);
    let free = drawn.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    free.ok_or_else(|| format!("no port between {} and {} is free", PORTS.start, PORTS.end))
}

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
