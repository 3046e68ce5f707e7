//! What a run takes beside time: processor time of this process and of the server, and messages on the wire.

use xtask::nats::Server;

use super::Result;

/// Counts since the start of both processes.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Microseconds of this process.
    pub client_us: f64,
    /// Microseconds of the server.
    pub server_us: f64,
    /// Messages that the server took from its clients.
    pub taken: f64,
}

impl Usage {
    /// How it stands now.
    pub fn now(server: &Server) -> Result<Self> {
        let answer = server.monitor("/varz")?;
        let taken = answer.field("in_msgs").and_then(|count| count.parse().ok());
        let id = server.id().ok_or("the server does not run")?;
        Ok(Self {
            client_us: processor("self")?,
            server_us: processor(&id.to_string())?,
            taken: taken.ok_or("the server does not say how many messages it took")?,
        })
    }

    /// What was used since then.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            client_us: self.client_us - before.client_us,
            server_us: self.server_us - before.server_us,
            taken: self.taken - before.taken,
        }
    }
}

/// Processor time of a process, in microseconds.
pub fn processor(process: &str) -> Result<f64> {
    xtask::usage::processor(process).map(|time| time.as_secs_f64() * 1e6)
}
