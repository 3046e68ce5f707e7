//! The signals that ask the service to end.

use std::{future::Future, pin::Pin};

/// Completes when the process is asked to end: by Ctrl-C, or by SIGTERM. Asked again, it ends at once.
pub type AskedToEnd = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Listens from now on, also while nobody waits.
#[cfg(unix)]
pub fn listen() -> std::io::Result<AskedToEnd> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut one = async move || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    Ok(Box::pin(async move {
        one().await;
        tokio::spawn(async move {
            one().await;
            std::process::exit(130);
        });
    }))
}

/// Listens from now on, also while nobody waits.
#[cfg(not(unix))]
pub fn listen() -> std::io::Result<AskedToEnd> {
    let (asked, end) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() && asked.send(()).is_ok() && tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
    Ok(Box::pin(async move { drop(end.await) }))
}
