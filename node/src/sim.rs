//! Worlds in virtual time over the production core, and `murmur sim`.
//!
//! A world runs hundreds of [`Core`](crate::core::Core)s, the very objects that run behind sockets,
//! from one seed: the same seed gives the same run, packet for packet. Scenarios are named claims
//! that anyone can rerun.
//!
//! The rooms: [`world`] (the mesh in virtual time), [`link`] (latency and loss), [`disk`] (what
//! survives), [`mesh`] (the PKI alone, for thousands of nodes), [`adversary`] (hostile roles), [`crowd`] (directories of nodes that don't run), [`metrics`] (counts and quantiles), [`seed`] (streams
//! of randomness), [`scenario`] (what can be run by name).

pub mod adversary;
mod agenda;
pub mod crowd;
pub mod disk;
pub mod link;
pub mod mesh;
pub mod metrics;
pub mod scenario;
pub mod seed;
pub mod world;

use serde_json::json;

use crate::cli::SimArgs;
use crate::cli::print::Out;
use crate::cli::progress::Progress;
use crate::env::Clock;
use crate::error::{Error, ErrorKind};
use crate::sim::scenario::{ALL, Outcome, Scenario};

/// Runs `murmur sim`; 0 only if every target was met.
pub(crate) fn command(args: &SimArgs, out: &mut Out) -> Result<u8, Error> {
    let Some(name) = args.name.as_deref().filter(|_| !args.list) else {
        return list(args.json, out);
    };
    let Some(scenario) = ALL.iter().find(|one| one.name() == name) else {
        let names: Vec<_> = ALL.iter().map(|one| one.name()).collect();
        return Err(Error::new(
            ErrorKind::Usage,
            format!(
                "there is no scenario {name:?}; there are: {}",
                names.join(", ")
            ),
            "`murmur sim --list` says what each shows",
        ));
    };
    let clock = Clock::start();
    let started = clock.now();
    let progress = Progress::new(args.json);
    let outcome = scenario.run(args.seed, &progress);
    progress.finish();
    let outcome = outcome?;
    let elapsed = clock.now().since(started).as_secs_f64();
    if args.json {
        out.json(&json!({
            "scenario": name,
            "seed": args.seed,
            "figures": outcome.figures.object(),
            "targets": outcome.targets_object(),
            "ok": outcome.ok(),
            "elapsed_s": (elapsed * 1000.0).round() / 1000.0,
        }))?;
    } else {
        print(*scenario, args.seed, &outcome, elapsed, out)?;
    }
    Ok(u8::from(!outcome.ok()))
}

fn list(json: bool, out: &mut Out) -> Result<u8, Error> {
    if json {
        let all: Vec<_> = ALL
            .iter()
            .map(|one| json!({ "name": one.name(), "about": one.about() }))
            .collect();
        out.json(&json!({ "scenarios": all }))?;
    } else {
        let rows: Vec<_> = ALL
            .iter()
            .map(|one| [one.name().to_owned(), one.about().to_owned()])
            .collect();
        out.table(["scenario", "shows"], &rows)?;
    }
    Ok(0)
}

fn print(
    scenario: &dyn Scenario,
    seed: u64,
    outcome: &Outcome,
    elapsed: f64,
    out: &mut Out,
) -> Result<(), Error> {
    out.line(&format!(
        "{} (seed {seed}): {}",
        scenario.name(),
        scenario.about()
    ))?;
    out.line("")?;
    let rows: Vec<_> = outcome
        .figures
        .rows()
        .map(|(name, value)| [name.to_owned(), value])
        .collect();
    out.table(["figure", ""], &rows)?;
    out.line("")?;
    let rows: Vec<_> = outcome
        .targets
        .iter()
        .map(|target| {
            let met = if target.met { "met" } else { "MISSED" };
            [
                target.name.to_owned(),
                target.want.clone(),
                target.is.clone(),
                met.to_owned(),
            ]
        })
        .collect();
    out.table(["target", "wanted", "is", ""], &rows)?;
    out.line("")?;
    let speed = outcome.figures.count("events") as f64 / elapsed.max(0.001);
    out.line(&format!("{elapsed:.1} s, {speed:.0} events/s"))
}

#[cfg(test)]
mod tests;
