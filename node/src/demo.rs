//! `murmur demo`: a mesh of real nodes on loopback sockets, the project's main job on real input.
//!
//! Every node here is what `murmur up` runs: its own keys, data directory, sockets, store and
//! driver. The demo is only a user of many nodes at once. It adds contacts by address, sends
//! through the same handle as the API does, stops one node while a message to it is on its way,
//! starts it again from its directory, and believes nothing but what the nodes report.

mod mesh;
mod plan;
mod report;

use std::time::Duration;

use crate::cli::DemoArgs;
use crate::cli::print::Out;
use crate::cli::progress::Progress;
use crate::env;
use crate::error::{Error, ErrorKind};

/// Runs the demo and prints its report; 0 only if every message was delivered and read.
pub(crate) async fn run(args: &DemoArgs, out: &mut Out) -> Result<u8, Error> {
    let clock = env::Clock::start();
    let at_least = Duration::from_secs(args.seconds.unwrap_or_default());
    let limit = at_least + Duration::from_secs(limit(args));
    let progress = Progress::new(args.json);
    let nodes = usize::try_from(args.nodes).unwrap_or(usize::MAX);
    let messages = usize::try_from(args.messages).unwrap_or(usize::MAX);
    // Dropping the play drops the mesh and its directories, keys included.
    let outcome = tokio::select! {
        outcome = tokio::time::timeout(
            limit,
            plan::play(nodes, messages, at_least, &clock, &progress),
        ) => outcome,
        () = interrupted() => {
            progress.finish();
            return Err(Error::new(ErrorKind::Deadline, "the demo was interrupted", "run it again"));
        }
    };
    progress.finish();
    let Ok(report) = outcome else {
        return Err(Error::new(
            ErrorKind::Deadline,
            format!("the demo did not end within {} s", limit.as_secs()),
            "choose fewer nodes with --nodes; this machine may be too busy",
        ));
    };
    let report = report?;
    if args.json {
        out.json(&report.object())?;
    } else {
        report.print(out)?;
    }
    Ok(u8::from(!report.ok()))
}

/// Ends when the user or the system asks the process to stop.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(_) => std::future::pending().await,
    }
}

/// Seconds after which something is wrong: twice what a quiet two-core machine needs.
fn limit(args: &DemoArgs) -> u64 {
    120 + 4 * u64::from(args.nodes) + u64::from(args.messages)
}
