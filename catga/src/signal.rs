//! The signals that ask a process to end.

use crate::error::{Error, ErrorKind};

/// The signals that ask this process to end: Ctrl-C, and SIGTERM where there is one.
///
/// They are heard from the moment that this is made, also while nobody waits for them. Made before the node is built, it
/// misses none that comes while the service starts.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), catga::Error> {
/// use catga::{Mediator, Signals};
///
/// let mut signals = Signals::listen()?;
/// let mediator = Mediator::builder().discover(false).build().await?;
/// mediator.run_until(signals.asked()).await
/// # }
/// ```
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
}

impl Signals {
    /// Listens from now on; a signal no longer ends the process by itself.
    ///
    /// # Errors
    ///
    /// `Configuration` if signals cannot be received.
    pub fn listen() -> Result<Self, Error> {
        let failed = |error: std::io::Error| {
            Error::not_started(ErrorKind::Configuration, format!("signals cannot be received: {error}"))
                .with_source(error)
        };
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
            Ok(Self { interrupt, terminate: signal(SignalKind::terminate()).map_err(failed)? })
        }
        #[cfg(windows)]
        Ok(Self { interrupt: tokio::signal::windows::ctrl_c().map_err(failed)? })
    }

    /// Completes when the process is asked to end, or has been since the last time.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn asked(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(windows)]
        self.interrupt.recv().await;
    }
}
