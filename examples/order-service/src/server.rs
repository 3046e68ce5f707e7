//! The HTTP server of a node: it can be stopped gently, and cut off as a crash would.
//!
//! `axum::serve` is enough for a service that only stops gently. Its connections live on when it is dropped, and then
//! a killed node would still answer.

use std::{pin::pin, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

/// How many connections are open at the same time; more wait in the queue of the operating system.
const MAX_CONNECTIONS: usize = 10_000;
/// How long a client may take for the head of a request, and how long it may keep a connection without one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How large the head of a request may be.
const MAX_HEAD: usize = 64 * 1024;
/// How long stopping waits for requests that are being answered: a little longer than a request may take.
const GRACE: Duration = Duration::from_secs(6);
/// The pause after a connection could not be accepted, usually because too many files are open.
const PAUSE: Duration = Duration::from_millis(100);

pub struct Server {
    /// Owns the listener and the connections.
    accepting: JoinHandle<()>,
    /// Dropped, it tells them to stop.
    stop: watch::Sender<()>,
}

impl Server {
    pub fn start(listener: TcpListener, routes: Router) -> Self {
        let (stop, stopped) = watch::channel(());
        Self { accepting: tokio::spawn(accept(listener, routes, stopped)), stop }
    }

    /// Takes nothing new, and lets requests that are being answered finish.
    pub async fn stop(mut self) {
        drop(self.stop);
        if timeout(GRACE, &mut self.accepting).await.is_err() {
            self.accepting.abort();
        }
    }

    /// Closes the listener and all connections where they stand.
    pub async fn cut_off(self) {
        self.accepting.abort();
        drop(self.accepting.await);
    }
}

async fn accept(listener: TcpListener, routes: Router, mut stopped: watch::Receiver<()>) {
    // Dropping the set ends its tasks.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, routes.clone(), stopped.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: TcpStream, routes: Router, mut stopped: watch::Receiver<()>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes)));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}
