//! `send` and `message`: writing, and what became of it.

use std::io::{IsTerminal, Read};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::time::sleep;

use super::contacts::with_suggestion;
use super::duration::utc;
use super::print::{Out, harmless};
use super::shape::{Life, Sent};
use super::{SendArgs, WaitFor};
use crate::api::{Accepted, Encoding, MAX_WAIT, NewMessage, Reliability};
use crate::client::{Client, segment};
use crate::error::{Error, ErrorKind};
use crate::handle::MAX_MESSAGE;
use crate::view::{MessageState, MessageView};

/// How long `--wait` waits without a deadline.
const DEFAULT_WAIT: Duration = Duration::from_secs(60);
/// What `--wait` waits beyond a deadline, to hear from the node that it passed.
const MARGIN: Duration = Duration::from_secs(2);

pub(super) async fn send(client: &Client, args: SendArgs, out: &mut Out) -> Result<u8, Error> {
    let (body, encoding) = body(args.text)?;
    let message = NewMessage {
        to: args.name,
        body,
        encoding,
        deadline_ms: args
            .deadline
            .map(|deadline| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)),
        class: args.class,
        reliability: Reliability::Reliable,
    };
    let accepted: Accepted = match client.post("/messages", &message).await {
        Ok(accepted) => accepted,
        Err(error) => return Err(with_suggestion(client, &message.to, error).await),
    };
    let Some(wanted) = args.wait else {
        show(&message.to, &accepted.id, accepted.state, out)?;
        return Ok(0);
    };
    let limit = args
        .deadline
        .map_or(DEFAULT_WAIT, |deadline| deadline + MARGIN);
    out.progress(&format!("waiting until it is {} …", name(wanted.into())));
    let (state, reason) = follow(client, &accepted, wanted.into(), limit).await?;
    show(&message.to, &accepted.id, state, out)?;
    Ok(outcome(state, reason, wanted, &accepted.id, out))
}

pub(super) async fn message(client: &Client, id: &str, out: &mut Out) -> Result<u8, Error> {
    let view: MessageView = client
        .get(&format!("/messages/{}", segment(id)), Duration::ZERO)
        .await?;
    if out.is_json() {
        out.json(&Life::from(&view))?;
        return Ok(0);
    }
    out.line(&format!(
        "{} to {}: {}",
        view.id,
        harmless(&view.to),
        name(view.state)
    ))?;
    if let Some((held, asked)) = view.stored {
        out.line(&format!("kept by {held} of {asked} holders"))?;
    }
    if let Some(reason) = &view.reason {
        out.line(&format!(
            "{} ({})",
            harmless(reason),
            view.code.as_deref().unwrap_or("no code")
        ))?;
    }
    let start = view.history.first().map_or(0, |step| step.at);
    let rows: Vec<_> = view
        .history
        .iter()
        .map(|step| {
            let after = step.at.saturating_sub(start);
            [
                name(step.state).to_owned(),
                utc(step.at),
                format!("+{}.{:03} s", after / 1_000, after % 1_000),
            ]
        })
        .collect();
    out.table(["STATE", "AT (UTC)", "AFTER"], &rows)?;
    Ok(0)
}

/// The state's name in settings, JSON and tables.
pub(super) const fn name(state: MessageState) -> &'static str {
    match state {
        MessageState::Queued => "queued",
        MessageState::Sent => "sent",
        MessageState::Stored => "stored",
        MessageState::Delivered => "delivered",
        MessageState::Read => "read",
        MessageState::Failed => "failed",
        MessageState::Expired => "expired",
    }
}

/// Waits for `wanted`, a final state or the end of `limit`; the last state seen, and why if it failed.
async fn follow(
    client: &Client,
    accepted: &Accepted,
    wanted: MessageState,
    limit: Duration,
) -> Result<(MessageState, Option<String>), Error> {
    let path = format!(
        "/messages/{}?wait={}&timeout_ms={}",
        segment(&accepted.id),
        name(wanted),
        MAX_WAIT.as_millis()
    );
    let mut seen = (accepted.state, None);
    let over = sleep(limit);
    tokio::pin!(over);
    while seen.0 < wanted && !seen.0.is_final() {
        let answer = tokio::select! {
            answer = client.get::<MessageView>(&path, MAX_WAIT) => answer?,
            () = &mut over => {
                // The wait is over, the question where it stands is not.
                let now = client.get::<MessageView>(&format!("/messages/{}", segment(&accepted.id)), Duration::ZERO).await?;
                return Ok((now.state, now.reason));
            }
        };
        seen = (answer.state, answer.reason);
    }
    Ok(seen)
}

fn show(to: &str, id: &str, state: MessageState, out: &mut Out) -> Result<(), Error> {
    if out.is_json() {
        return out.json(&Sent { id, state });
    }
    out.line(&format!("{id} to {}: {}", harmless(to), name(state)))
}

/// The exit code after a wait, with a remark where it is not 0.
fn outcome(
    state: MessageState,
    reason: Option<String>,
    wanted: WaitFor,
    id: &str,
    out: &mut Out,
) -> u8 {
    let wanted = MessageState::from(wanted);
    match state {
        MessageState::Failed => {
            let reason =
                reason.map_or_else(|| "no reason given".to_owned(), |reason| harmless(&reason));
            out.note(&format!("it failed: {reason}"));
            ErrorKind::Refused.exit_code()
        }
        MessageState::Expired => {
            out.note("its deadline passed first");
            ErrorKind::Deadline.exit_code()
        }
        state if state >= wanted => 0,
        state => {
            out.note(&format!(
                "it is not {} yet ({}); it goes on by itself, see `murmur message {id}`",
                name(wanted),
                name(state)
            ));
            ErrorKind::Deadline.exit_code()
        }
    }
}

/// The body from the argument or stdin, as text where it is UTF-8.
fn body(text: Option<String>) -> Result<(String, Encoding), Error> {
    let from_stdin = match text.as_deref() {
        Some("-") => true,
        Some(_) => false,
        None if std::io::stdin().is_terminal() => {
            let fix = "give it: murmur send NAME TEXT; or type it after `murmur send NAME -` and end with ctrl-d";
            return Err(Error::new(
                ErrorKind::Usage,
                "there is no message to send",
                fix,
            ));
        }
        None => true,
    };
    let bytes = if from_stdin {
        stdin()?
    } else {
        text.unwrap_or_default().into_bytes()
    };
    if bytes.len() > MAX_MESSAGE {
        let message =
            format!("the message has more than {MAX_MESSAGE} bytes, the most one can have");
        return Err(
            Error::new(ErrorKind::Refused, message, "split it").with_code("message_too_long")
        );
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => (text, Encoding::Text),
        Err(error) => (BASE64.encode(error.as_bytes()), Encoding::Base64),
    })
}

fn stdin() -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    // One more than allowed is enough to see that it is too long.
    std::io::stdin()
        .lock()
        .take(MAX_MESSAGE as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| {
            Error::new(
                ErrorKind::Usage,
                format!("can't read the message from stdin: {error}"),
                "give it as an argument",
            )
            .with_source(error)
        })?;
    Ok(bytes)
}
