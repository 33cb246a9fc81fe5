//! `routes`: what routes are drawn from, and what the drawing shows. Routes are uniform over the permitted walks, no two nodes of
//! one share a subnet, each node is on duty as often as its weight says, pools are as full as the traffic allows, and what nodes
//! look up does not depend on the routes they draw.

mod duty;
mod law;
mod transcript;

use serde_json::json;

use super::{Outcome, Scenario};
use crate::cli::progress::Progress;
use crate::error::Error;

/// Draws for each law.
const DRAWS: usize = 1_000_000;
/// Standard deviations by which a chi-square may exceed its mean: once in thirty thousand runs.
const MOST_SIGMA: f64 = 4.0;
/// Slots over which duty is counted.
const SLOTS: u64 = 60_000;
/// Part of its due by which a node's duty may differ.
const MOST_OFF: f64 = 0.05;

pub(super) struct Routes;

impl Scenario for Routes {
    fn name(&self) -> &'static str {
        "routes"
    }

    fn about(&self) -> &'static str {
        "routes are uniform, in distinct subnets, over a flock in which duty follows weight; lookups say nothing of them"
    }

    fn run(&self, seed: u64, progress: &Progress) -> Result<Outcome, Error> {
        run(seed, DRAWS, SLOTS, progress)
    }
}

fn run(seed: u64, draws: usize, slots: u64, progress: &Progress) -> Result<Outcome, Error> {
    let mut outcome = Outcome::default();
    let laws = law::all(seed, draws, progress)?;
    let worst = laws.iter().map(|law| law.sigma).fold(f64::MIN, f64::max);
    let clashes: u64 = laws.iter().map(|law| law.clashes).sum();
    let foreign: u64 = laws.iter().map(|law| law.foreign).sum();
    for law in &laws {
        let about = json!({
            "walks": law.walks,
            "draws": law.draws,
            "chi_square": round(law.chi_square, 1),
            "freedom": law.walks.saturating_sub(1),
            "sigma": round(law.sigma, 2),
        });
        outcome.figures.add(law.name, about);
    }
    outcome.figures.add("walks_not_permitted", foreign);
    outcome.figures.add("subnets_shared", clashes);
    outcome.holds(
        "uniform",
        format!("chi-square within {MOST_SIGMA} sigma"),
        round(worst, 2),
        worst < MOST_SIGMA,
    );
    outcome.want("only_permitted_walks", "walks_not_permitted", 0);
    outcome.want("distinct_subnets", "subnets_shared", 0);

    let shares = duty::shares(seed, slots, progress)?;
    for class in &shares.classes {
        let about = json!({
            "nodes": class.nodes,
            "duty": round(class.duty, 4),
            "load": round(class.load, 4),
            "due": round(class.due, 4),
        });
        outcome.figures.add(class.name, about);
    }
    let off = shares.worst_node;
    outcome
        .figures
        .add("on_duty_mean", round(shares.on_duty, 1));
    outcome.holds(
        "duty_is_weight",
        format!("each node within {MOST_OFF}"),
        round(off, 4),
        off <= MOST_OFF,
    );
    let load = shares
        .classes
        .iter()
        .map(|class| (class.load / class.due - 1.0).abs())
        .fold(0.0, f64::max);
    outcome.holds(
        "load_is_weight",
        format!("each weight within {MOST_OFF}"),
        round(load, 4),
        load <= MOST_OFF,
    );

    let meshes = duty::pools(seed, progress)?;
    let dense = meshes
        .iter()
        .filter(|mesh| mesh.allowed)
        .map(|mesh| mesh.margin());
    let dense = dense.fold(f64::MAX, f64::min);
    let stretched = meshes.iter().all(duty::Pools::waits_enough);
    let rows: Vec<_> = meshes.iter().map(duty::Pools::row).collect();
    outcome.figures.add("pools", rows.join("; "));
    outcome.holds(
        "pool_density",
        "at least P where the traffic allows".to_owned(),
        round(dense, 3),
        dense >= 1.0,
    );
    outcome.holds(
        "waits_for_a_pool",
        "strong and slow wait for 24, or their longest".to_owned(),
        f64::from(u8::from(stretched)),
        stretched,
    );

    let seen = transcript::compare(seed, progress)?;
    outcome.figures.add("lookups", seen.lookups);
    outcome.figures.add("dials", seen.dials);
    outcome
        .figures
        .add("lookups_that_differ", seen.lookups_differ);
    outcome.figures.add("dials_that_differ", seen.dials_differ);
    outcome.figures.add("lookups_of_single_nodes", seen.strange);
    outcome
        .figures
        .add("runs_with_other_routes", seen.other_routes);
    outcome.holds(
        "something_was_looked_up",
        "more than 0".to_owned(),
        seen.lookups as f64,
        seen.lookups > 0,
    );
    outcome.want("routes_did_differ", "runs_with_other_routes", seen.runs - 1);
    outcome.want("lookups_say_nothing", "lookups_that_differ", 0);
    outcome.want("dials_say_nothing", "dials_that_differ", 0);
    outcome.want("no_item_lookup", "lookups_of_single_nodes", 0);
    Ok(outcome)
}

fn round(value: f64, digits: i32) -> f64 {
    let unit = 10f64.powi(digits);
    (value * unit).round() / unit
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_small_run_meets_every_target_that_needs_no_crowd() {
        let outcome = run(1, 40_000, 1_500, &Progress::new(true)).unwrap();
        let missed: Vec<_> = outcome
            .targets
            .iter()
            // Each node's duty within 5 % takes 60,000 slots to show.
            .filter(|target| !target.met && target.name != "duty_is_weight")
            .collect();
        assert!(missed.is_empty(), "{missed:#?} {:#?}", outcome.figures);
    }
}
