//! The listener: accepts, counts, closes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::connection::Guarded;
use super::problem::Problem;
use super::{MAX_CONNECTIONS, MAX_HEADERS, Shared, Timeouts, closed, router};
use crate::datadir::socket;
use crate::error::Error;
use crate::handle::NodeHandle;

/// How long open requests may go on after [`Server::stop`].
const GRACE: Duration = Duration::from_secs(2);

/// A running API server. Dropping it leaves it running until the runtime ends; see [`Server::stop`].
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    closing: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Serves `node` on the socket of `data_dir`, whose lock this process holds.
///
/// # Errors
/// `DataDir` if the socket can't be made.
pub fn serve(data_dir: &Path, node: NodeHandle) -> Result<Server, Error> {
    serve_with(data_dir, node, Timeouts::default())
}

pub(super) fn serve_with(
    data_dir: &Path,
    node: NodeHandle,
    timeouts: Timeouts,
) -> Result<Server, Error> {
    let (listener, path) = socket::listen(data_dir)?;
    let (closing, closed) = watch::channel(false);
    let owner = std::fs::metadata(&path).ok().map(|socket| socket.uid());
    let shared = Shared {
        node,
        closing: closed,
        timeouts: Arc::new(timeouts),
    };
    let task = tokio::spawn(accept(listener, shared, owner));
    Ok(Server {
        path,
        closing,
        task,
    })
}

impl Server {
    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes no more connections, ends waiting requests and event streams, lets the others finish
    /// for at most two seconds, and removes the socket.
    pub async fn stop(self) {
        let _ = self.closing.send(true);
        let _ = self.task.await;
        socket::remove(&self.path);
    }
}

async fn accept(listener: UnixListener, shared: Shared, owner: Option<u32>) {
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut closing = shared.closing.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = closed(&mut closing) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: others must close first.
                tracing::warn!(%error, "the API can't accept a connection");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if !is_ours(&stream, owner) {
            continue;
        }
        match Arc::clone(&seats).try_acquire_owned() {
            Ok(seat) => {
                let shared = shared.clone();
                connections.spawn(async move {
                    connection(stream, shared).await;
                    drop(seat);
                });
            }
            Err(_) => turn_away(&stream),
        }
    }
    drop(listener);
    let _ = timeout(GRACE, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
    connections.abort_all();
}

async fn connection(stream: UnixStream, shared: Shared) {
    let timeouts = Arc::clone(&shared.timeouts);
    let mut closing = shared.closing.clone();
    let io = TokioIo::new(Guarded::new(stream, timeouts.write));
    let service = TowerToHyperService::new(router(shared));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.header)
        .max_buf_size(MAX_HEADERS)
        .serve_connection(io, service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closed(&mut closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an API connection ended badly");
    }
}

/// The socket's mode keeps other users out already; this holds where a system ignores it.
fn is_ours(stream: &UnixStream, owner: Option<u32>) -> bool {
    match (stream.peer_cred(), owner) {
        (Ok(peer), Some(owner)) => peer.uid() == owner || peer.uid() == 0,
        _ => false,
    }
}

/// One try without waiting: whoever holds 64 connections may not also hold this task.
fn turn_away(stream: &UnixStream) {
    let body = Problem::too_many_connections().to_json();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.try_write(&[head.as_bytes(), &body].concat());
}
