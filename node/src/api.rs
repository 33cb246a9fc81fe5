//! The sidecar API: HTTP/1.1 and JSON under `/api/v1`, on a Unix socket in the data directory.
//!
//! A thin skin over [`NodeHandle`]: it decides nothing, it translates. Every error is a problem
//! document (RFC 9457), every request has a deadline, every size has a cap.
//!
//! | call | answer |
//! |---|---|
//! | `GET /health` | 200 as long as the process answers |
//! | `GET /ready` | 200, or 503 with `reasons` |
//! | `GET /node` · `/counters` | the node; packet counts without identifiers |
//! | `GET /peers` | the mesh as this node sees it: directory, duty, weight, links |
//! | `GET /alarms` · `POST /alarms/{id}/seen` | who knows another mesh, with the evidence; 204 |
//! | `GET /addresses` · `POST {label?}` | addresses; a new one (201) |
//! | `GET /contacts` · `POST {name, address}` · `DELETE /contacts/{name}` | contacts; 201; 204 |
//! | `POST /messages {to, body, encoding?, deadline_ms?, class?, reliability?}` | 202 `{id, state}` once it is on disk |
//! | `GET /messages/{id}?wait=stored&timeout_ms=` | the message's life; waits for a state |
//! | `GET /inbox?after=&limit=&wait_ms=` · `POST /inbox/{id}/ack` | received messages; waits for one; 204 |
//! | `GET /events` | server-sent events from now on, numbered |
//! | `POST /stop` | 202, then the node stops |
//!
//! POST needs `content-type: application/json` (also without a body: a web page can't send that
//! unasked) and takes `Idempotency-Key` where it creates something that must not be created twice.
//! Not here: TCP with a token, topics, groups, backup; what the page needs.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post};
use tokio::sync::watch;

use crate::handle::NodeHandle;

mod connection;
mod events;
mod extract;
mod problem;
mod routes;
mod server;
mod types;

pub use problem::Problem;
pub use server::{Server, serve};
pub use types::{
    Accepted, Encoding, NewAddress, NewContact, NewMessage, Ready, Reliability, WireClass,
};

/// The longest request body, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;
/// The longest header block, in bytes.
pub const MAX_HEADERS: usize = 8 * 1024;
/// The most connections at a time; one more is told so and closed.
pub const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to send its headers, and how long a kept connection may idle.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request may take, waiting time asked for (`timeout_ms`, `wait_ms`) not counted.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest waiting time a request may ask for; longer ones are cut to it.
pub const MAX_WAIT: Duration = Duration::from_secs(60);
/// How long a client may refuse to read before its connection is closed.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The most messages of one `GET /inbox`.
pub const MAX_PAGE: usize = 100;
/// About how many bytes of bodies one `GET /inbox` gives; always at least one message.
pub const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// What the handlers share.
#[derive(Clone)]
struct Shared {
    node: NodeHandle,
    /// Turns true when the server winds down: waiting requests and event streams end.
    closing: watch::Receiver<bool>,
    timeouts: Arc<Timeouts>,
}

/// The times of this module's constants; tests use shorter ones.
#[derive(Clone, Copy, Debug)]
struct Timeouts {
    header: Duration,
    request: Duration,
    write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header: HEADER_TIMEOUT,
            request: REQUEST_TIMEOUT,
            write: WRITE_TIMEOUT,
        }
    }
}

/// Ends when the server winds down; a dropped sender means that it is gone, which is the same.
async fn closed(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

fn router(shared: Shared) -> Router {
    let v1 = Router::new()
        .route("/health", get(routes::health))
        .route("/ready", get(routes::ready))
        .route("/node", get(routes::node))
        .route("/counters", get(routes::counters))
        .route("/peers", get(routes::peers))
        .route("/alarms", get(routes::alarms))
        .route("/alarms/{id}/seen", post(routes::alarm_seen))
        .route(
            "/addresses",
            get(routes::addresses).post(routes::new_address),
        )
        .route("/contacts", get(routes::contacts).post(routes::add_contact))
        .route("/contacts/{name}", delete(routes::remove_contact))
        .route("/messages", post(routes::send))
        .route("/messages/{id}", get(routes::message))
        .route("/inbox", get(routes::inbox))
        .route("/inbox/{id}/ack", post(routes::ack))
        .route("/events", get(events::stream))
        .route("/stop", post(routes::stop))
        .method_not_allowed_fallback(routes::wrong_method);
    Router::new()
        .nest("/api/v1", v1)
        .fallback(routes::unknown)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn_with_state(
            shared.clone(),
            routes::deadline,
        ))
        .with_state(shared)
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
