//! Heavy proofs that the packet core cannot be fooled: each is a part of its own, prints what it counted and its verdict, and
//! the program fails if one of them does.
//!
//! ```text
//! cargo bench --bench soundness -- tamper    every single-bit flip at every hop position, forward and reply
//! cargo bench --bench soundness -- alpha     group elements that are none, in every slot that takes one
//! cargo bench --bench soundness -- padding   what the exit sees beyond its block, for all path lengths
//! cargo bench --bench soundness -- timing    Welch's t between classes of secret and of fault
//! cargo bench --bench soundness -- delays    waiting times against the exponential law
//! ```
//!
//! Without a name all of them run, about a quarter of an hour on two cores. `cargo test --benches` runs each with few cases.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures and prints"
)]

use std::process::ExitCode;
use std::time::Instant;

#[path = "soundness/alpha.rs"]
mod alpha;
#[path = "soundness/delays.rs"]
mod delays;
#[path = "soundness/field.rs"]
mod field;
#[path = "shared/lab.rs"]
mod lab;
#[path = "soundness/padding.rs"]
mod padding;
#[path = "../mix/tests/reference/sphinx.rs"]
mod reference;
#[path = "shared/stats.rs"]
mod stats;
#[path = "soundness/tamper.rs"]
mod tamper;
#[path = "soundness/timing.rs"]
mod timing;

type Part = (&'static str, fn() -> bool);
const PARTS: [Part; 5] = [
    ("tamper", tamper::run),
    ("alpha", alpha::run),
    ("padding", padding::run),
    ("timing", timing::run),
    ("delays", delays::run),
];

fn main() -> ExitCode {
    let off = stats::check();
    for line in &off {
        println!("soundness: the statistics are wrong: {line}");
    }
    let mut failed = !off.is_empty();
    let mut ran = 0;
    for (name, run) in PARTS {
        if lab::skipped(name) {
            continue;
        }
        let start = Instant::now();
        let held = run();
        let verdict = if held { "holds" } else { "FAILS" };
        println!("{name}: {verdict} ({:.0?})", start.elapsed());
        failed |= !held;
        ran += 1;
    }
    if ran == 0 {
        println!(
            "soundness: no part has that name: {:?}",
            PARTS.map(|(name, _)| name)
        );
        failed = true;
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Runs jobs 0 to `jobs` on all cores, each worker with a state of its own, and gives these back.
fn on_all_cores<S: Send>(
    jobs: usize,
    fresh: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) + Sync,
) -> Vec<S> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(|| {
                    let mut state = fresh();
                    loop {
                        let job = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        if job >= jobs {
                            return state;
                        }
                        work(&mut state, job);
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}
