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

use crate::cli::print;
use crate::cli::{DemoArgs, ExitStatus};
use crate::env;
use crate::error::Error;

/// Runs the demo and prints its report; succeeds only if every message was delivered and read.
pub async fn run(args: &DemoArgs) -> Result<ExitStatus, Error> {
    let clock = env::Clock::start();
    let limit = Duration::from_secs(args.seconds.unwrap_or_else(|| default_limit(args)));
    let progress = print::Progress::new(args.json);
    let outcome =
        tokio::time::timeout(limit, plan::play(args.nodes, args.messages, &clock, &progress)).await;
    progress.finish();
    let report = match outcome {
        Ok(report) => report?,
        Err(_) => {
            return Err(Error::new(
                crate::error::ErrorKind::Deadline,
                format!("the demo did not end within {} s", limit.as_secs()),
                "give it more time with --seconds, or fewer nodes with --nodes",
            ));
        }
    };
    if args.json {
        print::json(&report.object());
    } else {
        report.print();
    }
    Ok(if report.ok() { ExitStatus::Ok } else { ExitStatus::Failed })
}

/// Twice what a quiet two-core machine needs.
fn default_limit(args: &DemoArgs) -> u64 {
    let nodes = u64::try_from(args.nodes).unwrap_or(u64::MAX);
    let messages = u64::try_from(args.messages).unwrap_or(u64::MAX);
    120u64.saturating_add(nodes.saturating_mul(4)).saturating_add(messages)
}
