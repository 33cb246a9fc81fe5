//! `inbox`: received messages, once or as they come.

use std::time::Duration;

use super::InboxArgs;
use super::duration::utc;
use super::print::{Out, harmless};
use super::shape::Received;
use crate::api::{MAX_PAGE, MAX_WAIT};
use crate::client::Client;
use crate::error::Error;
use crate::view::InboxView;

/// Prints all that is kept, page by page; with `--follow` goes on until it is interrupted.
pub(super) async fn inbox(client: &Client, args: &InboxArgs, out: &mut Out) -> Result<u8, Error> {
    let mut after = 0;
    let mut is_empty = true;
    loop {
        let wait = if args.follow {
            MAX_WAIT
        } else {
            Duration::ZERO
        };
        let path = format!(
            "/inbox?after={after}&limit={MAX_PAGE}&wait_ms={}",
            wait.as_millis()
        );
        let messages: Vec<InboxView> = client.get(&path, wait).await?;
        if messages.is_empty() && !args.follow {
            break;
        }
        for message in messages {
            is_empty = false;
            after = after.max(message.seq);
            show(&message, out)?;
            // After printing: what the pipe did not take has not been read.
            if args.ack && !message.acked {
                client
                    .post_empty(&format!("/inbox/{}/ack", message.id))
                    .await?;
            }
        }
    }
    if is_empty {
        out.note("no messages yet; give somebody your address: `murmur address`");
    }
    Ok(0)
}

fn show(message: &InboxView, out: &mut Out) -> Result<(), Error> {
    if out.is_json() {
        return out.json(&Received::from(message));
    }
    let new = if message.acked { "" } else { "  new" };
    out.line(&format!(
        "{}  {}{new}  {}",
        utc(message.received_at),
        harmless(&message.from),
        message.id
    ))?;
    let body = if message.encoding == "text" {
        harmless(&message.body)
    } else {
        format!("(base64) {}", message.body)
    };
    for line in body.lines() {
        out.line(&format!("  {line}"))?;
    }
    Ok(())
}
