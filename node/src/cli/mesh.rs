//! `peers`, `alarms`: the mesh as this node sees it, and who sees another one.

use std::time::Duration;

use super::print::{Out, harmless};
use super::shape::Alarm;
use crate::client::Client;
use crate::error::Error;
use crate::view::{AlarmView, DutyView, PeersView, PkiView};

/// Digits of a root or certificate that a person compares.
const SHORT: usize = 16;

pub(super) async fn peers(client: &Client, out: &mut Out) -> Result<u8, Error> {
    let peers: PeersView = client.get("/peers", Duration::ZERO).await?;
    if out.is_json() {
        out.json(&peers)?;
        return Ok(0);
    }
    for (name, value) in [
        ("epoch", peers.pki.epoch.to_string()),
        ("root", short(&peers.pki.root).to_owned()),
        ("directory", peers.pki.words()),
        ("certificate", certificate(&peers.pki)),
        ("nodes", peers.pki.nodes.to_string()),
        ("banned", peers.pki.banned.to_string()),
        ("duty", duty(&peers.duty)),
        ("own weight", peers.weight.words()),
    ] {
        out.line(&format!("{name:<11}  {value}"))?;
    }
    for warning in &peers.warnings {
        out.line(&format!("{:<11}  {}", "warning", warned(warning)))?;
    }
    let count = peers.links.len();
    out.line(&format!("{:<11}  {count} up", "links"))?;
    let rows: Vec<_> = peers
        .links
        .iter()
        .map(|link| {
            let number =
                |value: Option<u8>| value.map_or("-".to_owned(), |value| value.to_string());
            let yes = |is: bool| if is { "yes" } else { "-" }.to_owned();
            [
                link.node.clone(),
                number(link.weight),
                number(link.age),
                yes(link.on_duty),
                yes(link.holds),
            ]
        })
        .collect();
    if !rows.is_empty() {
        out.table(["NODE", "WEIGHT", "AGE", "ON DUTY", "MAILBOXES"], &rows)?;
    }
    Ok(0)
}

pub(super) async fn alarms(
    client: &Client,
    seen: Option<String>,
    out: &mut Out,
) -> Result<u8, Error> {
    if let Some(id) = seen {
        let path = format!("/alarms/{}/seen", crate::client::segment(&id));
        client.post_empty(&path).await?;
    }
    let alarms: Vec<AlarmView> = client.get("/alarms", Duration::ZERO).await?;
    if out.is_json() {
        let alarms: Vec<_> = alarms.iter().map(Alarm::from).collect();
        out.json(&alarms)?;
        return Ok(0);
    }
    if alarms.is_empty() {
        out.line("no alarm: no contact's node knows another mesh than this one")?;
    }
    for alarm in &alarms {
        let seen = if alarm.seen { " (seen)" } else { "" };
        out.line(&format!("{}{seen}", alarm.id))?;
        out.line(&format!("  {}", harmless(&alarm.what())))?;
        out.line(&format!("  here:  root {}", short(&alarm.own_root)))?;
        let there = alarm.their_root.as_deref().map_or("unknown", short);
        out.line(&format!("  there: root {there}"))?;
        if !alarm.seen {
            out.line(&format!("  {}", harmless(&alarm.advice())))?;
        }
    }
    Ok(0)
}

/// What a person compares of a root.
pub(super) fn short(hex: &str) -> &str {
    hex.get(..SHORT).unwrap_or(hex)
}

pub(super) fn certificate(pki: &PkiView) -> String {
    (pki.certificate.as_deref()).map_or("none".to_owned(), |hash| short(hash).to_owned())
}

pub(super) fn duty(duty: &DutyView) -> String {
    let until = clock(duty.until);
    if duty.on_duty {
        format!("on duty until {until}, one of {}", duty.flock)
    } else {
        format!("off duty; {} are on duty until {until}", duty.flock)
    }
}

/// Unix milliseconds as a time of day, UTC.
fn clock(at: u64) -> String {
    let seconds = at / 1_000;
    let (hours, minutes) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02} UTC", seconds % 60)
}

/// A warning's code in words.
pub(super) fn warned(code: &str) -> String {
    if code == "pki_degraded" {
        "pki_degraded: nobody vouches for this epoch's directory; messages flow, but a false mesh would look the same".to_owned()
    } else if code == "split_view" {
        "split_view: a contact's node knows another mesh; see `murmur alarms`".to_owned()
    } else if code.starts_with("few_bootstrap") {
        format!("{code}: start from more peers, in more networks, with --bootstrap")
    } else {
        code.to_owned()
    }
}
