//! What a packet costs: ours beside three Sphinx implementations from the registry and the bare parts, in one program and one
//! run, in multiples of one X25519 multiplication (U), so that figures of different machines can be compared.
//!
//! ```text
//! cd benches/peers
//! cargo run --release                        # the table, and how many times our cost the peers' is
//! cargo run --release -- --check             # against the project's goals; exit code 1 if one is missed
//! cargo run --release -- --threads 2         # also: two threads that peel beside one
//! cargo run --release -- --json              # one JSON object a line and figure
//! cargo run --release -- --filter /hop       # only what has this in "implementation/operation"; may be repeated
//! cargo run --release -- --rounds 1 --ms 1   # seconds, to see that all of it runs; the figures mean little
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `clock` | how a sample is taken: CPU time, between two samples of the unit, in turns, at changing stack depths |
//! | `ours`, `around` | our packet; replay set, pool and mixer around it |
//! | `nym`, `parity`, `outfox` | the peers, each through its public interface |
//! | `parts` | multiplications, encodings, ciphers and hashes alone |
//! | `scaling` | threads that peel at once, by the wall clock |
//! | `report`, `check` | table and JSON; the goals |
//!
//! Everything fresh that an operation needs is made outside the clock; where a peer's interface allows it, parsing and copying
//! are left out of its time, never of ours. It is a workspace of its own because the peers bring older curves and random
//! numbers, which the node must not have.

use std::io::{IsTerminal as _, stderr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

mod around;
mod check;
mod clock;
mod nym;
mod ours;
mod outfox;
mod parity;
mod parts;
mod report;
mod scaling;

/// Measures our packet, its peers and the parts they are made of, in multiples of one X25519 multiplication.
#[derive(Parser)]
struct Options {
    /// How often each bench takes its turn.
    #[arg(long, default_value_t = 26, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// CPU time of a sample, in milliseconds.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    ms: u64,
    /// Only benches with this in "implementation/operation"; may be given several times.
    #[arg(long)]
    filter: Vec<String>,
    /// One JSON object a line and figure instead of the table.
    #[arg(long)]
    json: bool,
    /// Compare with the project's goals; exit code 1 if one is missed.
    #[arg(long)]
    check: bool,
    /// Also let so many threads peel at once, and compare with one.
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..))]
    threads: Option<u8>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let rounds = options.rounds as usize;
    let length = Duration::from_millis(options.ms);
    let mut lineup = clock::Lineup::new(options.filter);
    parts::register(&mut lineup);
    ours::register(&mut lineup);
    around::register(&mut lineup);
    nym::register(&mut lineup);
    parity::register(&mut lineup);
    outfox::register(&mut lineup);

    let watched = stderr().is_terminal();
    lineup.run(rounds, length, |round| {
        if watched {
            eprint!("\rround {round} of {rounds} ");
        }
    });
    if watched {
        eprint!("\r                              \r");
    }
    let results = lineup.results();
    if results.is_empty() {
        eprintln!("peers: no bench has this in its name; run without --filter to see them all");
        return ExitCode::FAILURE;
    }
    let scaling = options
        .threads
        .map(|threads| scaling::measure(usize::from(threads), rounds, length));

    if options.json {
        report::json(&results, scaling.as_ref());
    } else {
        report::table(&results, lineup.unit_micros(), rounds);
        report::ratios(&results);
        if let Some(scaling) = &scaling {
            report::threads(scaling);
        }
    }
    if !options.check {
        return ExitCode::SUCCESS;
    }
    let goals = check::goals(&results, scaling.as_ref());
    // Beside JSON the table would spoil standard output.
    let text = check::table(&goals);
    if options.json {
        eprint!("{text}");
    } else {
        print!("\n{text}");
    }
    if check::all_met(&goals) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
