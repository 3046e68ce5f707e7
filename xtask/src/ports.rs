//! Ports for what must come back where it was.

use std::{
    hash::{BuildHasher, RandomState},
    net::{Ipv4Addr, TcpListener},
    ops::Range,
};

use crate::shell::Result;

/// Below the range from which systems take ports for connections. There, a client that tries again and again to reach a
/// server that is away would some day be given the server's own port, and talk to itself.
const PORTS: Range<u16> = 10_000..30_000;

/// How often a port is drawn before none is said to be free.
const DRAWS: usize = 1_000;

/// A port of this machine that was free a moment ago. Another process may take it before it is used.
///
/// # Errors
///
/// If none is found.
pub fn free_port() -> Result<u16> {
    let size = u64::from(PORTS.end - PORTS.start);
    let mut drawn = (0..DRAWS).map(|_| PORTS.start + (unique() % size) as u16);
    let free = drawn.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    free.ok_or_else(|| format!("no port between {} and {} is free", PORTS.start, PORTS.end))
}

/// What nobody else on this machine has, and no other call gives.
pub(crate) fn unique() -> u64 {
    // The standard library seeds each of these by chance.
    RandomState::new().hash_one(0)
}
