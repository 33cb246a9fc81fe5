//! `GET /events`: what happens from now on, as server-sent events numbered by the node.
//!
//! A reader that is too slow is told how many events it missed (`missed`) and goes on; nothing is
//! kept for it.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{self, KeepAlive, Sse};
use futures::Stream;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;

use super::{Shared, closed};
use crate::view::Event;

/// A comment line this often keeps a quiet stream open and finds dead readers.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn stream(
    State(shared): State<Shared>,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let state = (shared.node.events(), shared.closing.clone());
    let events = futures::stream::unfold(state, |(mut events, mut closing)| async move {
        let event = next(&mut events, &mut closing).await?;
        Some((Ok(event), (events, closing)))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

async fn next(
    events: &mut broadcast::Receiver<(u64, Event)>,
    closing: &mut watch::Receiver<bool>,
) -> Option<sse::Event> {
    let received = tokio::select! {
        event = events.recv() => event,
        () = closed(closing) => return None,
    };
    match received {
        Ok((number, event)) => {
            let json = serde_json::to_string(&event).unwrap_or_default();
            Some(
                sse::Event::default()
                    .id(number.to_string())
                    .event(name(&event))
                    .data(json),
            )
        }
        Err(RecvError::Lagged(missed)) => Some(
            sse::Event::default()
                .event("missed")
                .data(format!("{{\"event\":\"missed\",\"count\":{missed}}}")),
        ),
        Err(RecvError::Closed) => None,
    }
}

fn name(event: &Event) -> &'static str {
    match event {
        Event::Ready => "ready",
        Event::NotReady { .. } => "not_ready",
        Event::Message { .. } => "message",
        Event::Inbox { .. } => "inbox",
        Event::Contact { .. } => "contact",
        Event::Epoch { .. } => "epoch",
        Event::Alarm { .. } => "alarm",
    }
}
