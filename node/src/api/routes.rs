//! The handlers: each translates one call to the node's handle and its answer back.

use std::time::Duration;

use axum::Json as Out;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{sleep, timeout};

use super::extract::{IdempotencyKey, Json, Query, Segment};
use super::problem::Problem;
use super::types::{Accepted, Encoding, NewAddress, NewContact, NewMessage, Ready, WireClass};
use super::{MAX_PAGE, MAX_PAGE_BYTES, MAX_WAIT, Shared, closed};
use crate::handle::{MAX_MESSAGE, SendRequest};
use crate::view::{
    AddressView, AlarmView, ContactView, CounterView, Event, InboxView, MessageState, MessageView,
    NodeView, PeersView,
};

type Answer<T> = Result<T, Problem>;

/// How long `?wait=` waits where no `timeout_ms` says it.
const DEFAULT_WAIT_MS: u64 = 30_000;

pub(super) async fn health() -> Out<serde_json::Value> {
    Out(serde_json::json!({ "ok": true, "version": env!("CARGO_PKG_VERSION") }))
}

pub(super) async fn ready(State(shared): State<Shared>) -> Answer<Out<Ready>> {
    let node = shared.node.node().await?;
    if node.ready {
        Ok(Out(Ready {
            ready: true,
            reasons: node.reasons,
            warnings: node.warnings,
        }))
    } else {
        Err(Problem::not_ready(node.reasons))
    }
}

pub(super) async fn node(State(shared): State<Shared>) -> Answer<Out<NodeView>> {
    Ok(Out(shared.node.node().await?))
}

pub(super) async fn counters(State(shared): State<Shared>) -> Answer<Out<CounterView>> {
    Ok(Out(shared.node.counters().await?))
}

pub(super) async fn peers(State(shared): State<Shared>) -> Answer<Out<PeersView>> {
    Ok(Out(shared.node.peers().await?))
}

pub(super) async fn alarms(State(shared): State<Shared>) -> Answer<Out<Vec<AlarmView>>> {
    Ok(Out(shared.node.alarms().await?))
}

pub(super) async fn alarm_seen(
    State(shared): State<Shared>,
    Segment(id): Segment,
    Json(_): Json<Nothing>,
) -> Answer<StatusCode> {
    shared.node.alarm_seen(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn addresses(State(shared): State<Shared>) -> Answer<Out<Vec<AddressView>>> {
    Ok(Out(shared.node.addresses().await?))
}

pub(super) async fn new_address(
    State(shared): State<Shared>,
    Json(body): Json<NewAddress>,
) -> Answer<(StatusCode, Out<AddressView>)> {
    Ok((
        StatusCode::CREATED,
        Out(shared.node.new_address(&body.label).await?),
    ))
}

pub(super) async fn contacts(State(shared): State<Shared>) -> Answer<Out<Vec<ContactView>>> {
    Ok(Out(shared.node.contacts().await?))
}

pub(super) async fn add_contact(
    State(shared): State<Shared>,
    Json(body): Json<NewContact>,
) -> Answer<(StatusCode, Out<ContactView>)> {
    Ok((
        StatusCode::CREATED,
        Out(shared.node.add_contact(&body.name, &body.address).await?),
    ))
}

pub(super) async fn remove_contact(
    State(shared): State<Shared>,
    Segment(name): Segment,
) -> Answer<StatusCode> {
    shared.node.remove_contact(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn send(
    State(shared): State<Shared>,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(message): Json<NewMessage>,
) -> Answer<(StatusCode, Out<Accepted>)> {
    let body = match message.encoding {
        Encoding::Text => message.body.into_bytes(),
        Encoding::Base64 => BASE64.decode(&message.body).map_err(|error| {
            Problem::invalid(
                format!("the body is not base64: {error}"),
                "use the standard alphabet with padding, or encoding text",
            )
        })?,
    };
    if body.len() > MAX_MESSAGE {
        let detail = format!(
            "the message has {} bytes; {MAX_MESSAGE} is the most",
            body.len()
        );
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "message_too_long",
            detail,
            "split it",
        ));
    }
    if message.deadline_ms == Some(0) {
        return Err(Problem::invalid(
            "deadline_ms is 0",
            "give it a time in milliseconds, or leave it out",
        ));
    }
    let view = shared
        .node
        .send(SendRequest {
            to: message.to,
            body,
            deadline_ms: message.deadline_ms,
            slow: message.class == WireClass::Slow,
            idempotency_key,
        })
        .await?;
    Ok((
        StatusCode::ACCEPTED,
        Out(Accepted {
            id: view.id,
            state: view.state,
        }),
    ))
}

#[derive(Deserialize)]
pub(super) struct WaitForState {
    wait: Option<MessageState>,
    timeout_ms: Option<u64>,
}

/// A message's life. With `wait`, answers as soon as that state or a final one is reached, and with
/// the state as it is when the time is over: a long poll has no failure of its own.
pub(super) async fn message(
    State(shared): State<Shared>,
    Segment(id): Segment,
    Query(query): Query<WaitForState>,
) -> Answer<Out<MessageView>> {
    let Some(state) = query.wait else {
        return Ok(Out(shared.node.message(&id).await?));
    };
    if state > MessageState::Read {
        return Err(Problem::invalid(
            "wait takes queued, sent, stored, delivered or read",
            "a final state ends every wait",
        ));
    }
    let wait = capped(query.timeout_ms.unwrap_or(DEFAULT_WAIT_MS));
    match timeout(wait, shared.node.wait_message(&id, state)).await {
        Ok(view) => Ok(Out(view?)),
        Err(_) => Ok(Out(shared.node.message(&id).await?)),
    }
}

#[derive(Deserialize)]
pub(super) struct InboxPage {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
    #[serde(default)]
    wait_ms: u64,
}

/// Messages with a position above `after`; with `wait_ms`, waits for the first one.
pub(super) async fn inbox(
    State(shared): State<Shared>,
    Query(page): Query<InboxPage>,
) -> Answer<Out<Vec<InboxView>>> {
    let limit = page.limit.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
    let over = sleep(capped(page.wait_ms));
    tokio::pin!(over);
    // Before the first look, so that a message between look and wait is not missed.
    let mut events = shared.node.events();
    loop {
        let messages = shared.node.inbox(page.after, limit).await?;
        if !messages.is_empty() {
            return Ok(Out(cut(messages)));
        }
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = &mut over => return Ok(Out(messages)),
            };
            match event {
                Ok((_, Event::Inbox { .. })) | Err(RecvError::Lagged(_)) => break,
                Ok(_) => {}
                Err(RecvError::Closed) => return Err(Problem::stopping()),
            }
        }
    }
}

/// The first messages that fit a page; the rest come with the next `after`.
fn cut(mut messages: Vec<InboxView>) -> Vec<InboxView> {
    let mut bytes = 0;
    let fitting = messages.iter().take_while(|message| {
        bytes += message.body.len();
        bytes <= MAX_PAGE_BYTES
    });
    let fitting = fitting.count().max(1);
    messages.truncate(fitting);
    messages
}

pub(super) async fn ack(
    State(shared): State<Shared>,
    Segment(id): Segment,
    Json(_): Json<Nothing>,
) -> Answer<StatusCode> {
    shared.node.ack_inbox(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn stop(
    State(shared): State<Shared>,
    Json(_): Json<Nothing>,
) -> Answer<(StatusCode, Out<serde_json::Value>)> {
    shared.node.stop().await?;
    Ok((
        StatusCode::ACCEPTED,
        Out(serde_json::json!({ "stopping": true })),
    ))
}

/// A body that says nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

pub(super) async fn unknown(uri: Uri) -> Problem {
    let detail = format!("there is no {}", uri.path().escape_debug());
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown_route",
        detail,
        "all calls are under /api/v1; see the API's documentation",
    )
}

pub(super) async fn wrong_method(method: axum::http::Method, uri: Uri) -> Problem {
    let detail = format!("{} takes no {method}", uri.path().escape_debug());
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong_method",
        detail,
        "see the API's documentation for its methods",
    )
}

#[derive(Default, Deserialize)]
struct Waits {
    timeout_ms: Option<u64>,
    wait_ms: Option<u64>,
}

/// No request outlives its deadline, and none that waits outlives the server.
pub(super) async fn deadline(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let waits = axum::extract::Query::<Waits>::try_from_uri(request.uri())
        .map(|query| query.0)
        .unwrap_or_default();
    let is_wait = request
        .uri()
        .query()
        .is_some_and(|query| query.contains("wait"));
    let wait = match waits.timeout_ms.or(waits.wait_ms) {
        Some(milliseconds) => capped(milliseconds),
        None if is_wait => capped(DEFAULT_WAIT_MS),
        None => Duration::ZERO,
    };
    let mut closing = shared.closing.clone();
    let closed = async {
        closed(&mut closing).await;
        if !is_wait {
            // Short requests are let through; the server's grace period bounds them.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        answer = timeout(shared.timeouts.request + wait, next.run(request)) => {
            answer.unwrap_or_else(|_| Problem::timeout().into_response())
        }
        () = closed => Problem::stopping().into_response(),
    }
}

fn capped(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds).min(MAX_WAIT)
}
