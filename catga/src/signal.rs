//! The signals that ask a process to end.

use crate::error::{Error, ErrorKind};

/// Completes when the process is asked to end: by Ctrl-C, or by SIGTERM where there is one.
pub(crate) async fn wait() -> Result<(), Error> {
    let failed = |error: std::io::Error| {
        Error::not_started(ErrorKind::Configuration, format!("signals cannot be received: {error}")).with_source(error)
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        tokio::select! {
            interrupt = tokio::signal::ctrl_c() => interrupt.map_err(failed),
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.map_err(failed)
}
