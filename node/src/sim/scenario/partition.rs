//! A mesh falls into two halves for several epochs and comes together again.

use std::collections::{BTreeMap, BTreeSet};

use dht::epoch;
use mix::time::Span;

use super::{Outcome, Scenario};
use crate::cli::progress::Progress;
use crate::error::Error;
use crate::sim::mesh::{Mesh, MeshConfig};

const NODES: usize = 100;
/// Epochs before the cut, apart, and together again.
const BEFORE: u32 = 2;
const APART: [u32; 2] = [2, 5];
const MOST_TO_MERGE: u32 = 2;
const AFTER: u32 = 4;

pub(super) struct Partition;

/// What the views are at the start of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Views {
    roots: usize,
    /// Nodes of the largest group of one root.
    agreeing: usize,
    certified: usize,
    /// Distinct roots that somebody takes for certified.
    certified_roots: usize,
    /// Nodes in the smallest set.
    least: usize,
}

pub(super) struct Run {
    apart: Vec<Views>,
    after: Vec<Views>,
}

impl Run {
    /// Epochs after healing until all hold one set of all nodes.
    fn merged_in(&self, nodes: usize) -> Option<u32> {
        let merged = |views: &Views| views.roots == 1 && views.least == nodes;
        let at = self.after.iter().position(merged)?;
        u32::try_from(at + 1).ok()
    }
}

impl Scenario for Partition {
    fn name(&self) -> &'static str {
        "partition"
    }

    fn about(&self) -> &'static str {
        "100 nodes in two halves for 2 and for 5 epochs, then together: the views merge, no record is lost"
    }

    fn run(&self, seed: u64, progress: &Progress) -> Result<Outcome, Error> {
        progress.stage("partitions", APART.len());
        let runs = APART.map(|apart| {
            let run = run(seed, NODES, apart);
            progress.step();
            run
        });
        Ok(judge(&runs, NODES))
    }
}

pub(super) fn run(seed: u64, nodes: usize, apart: u32) -> Run {
    let config = MeshConfig::testnet(seed, nodes);
    let params = config.params.clone();
    let mut mesh = Mesh::new(config);
    mesh.run_until(epoch::start_of(&params, BEFORE) + Span::from_secs(60));
    mesh.cut();
    let mut run = Run {
        apart: Vec::new(),
        after: Vec::new(),
    };
    for e in BEFORE + 1..=BEFORE + apart {
        mesh.run_until(epoch::start_of(&params, e));
        run.apart.push(views(&mut mesh, e));
    }
    mesh.run_until(epoch::start_of(&params, BEFORE + apart) + Span::from_secs(60));
    mesh.heal();
    for e in BEFORE + apart + 1..=BEFORE + apart + AFTER {
        mesh.run_until(epoch::start_of(&params, e));
        run.after.push(views(&mut mesh, e));
    }
    run
}

fn views(mesh: &mut Mesh, e: u32) -> Views {
    let mut roots: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    let mut certified_roots = BTreeSet::new();
    let mut views = Views {
        least: usize::MAX,
        ..Views::default()
    };
    for node in mesh.honest(Span::ZERO) {
        let Some(view) = mesh.pki(node).and_then(|pki| pki.epoch_view(e)) else {
            continue;
        };
        *roots.entry(view.root).or_default() += 1;
        views.least = views.least.min(view.nodes);
        if view.degraded.is_none() {
            views.certified += 1;
            certified_roots.insert(view.root);
        }
    }
    views.roots = roots.len();
    views.agreeing = roots.values().copied().max().unwrap_or(0);
    views.certified_roots = certified_roots.len();
    views
}

pub(super) fn judge(runs: &[Run], nodes: usize) -> Outcome {
    let mut outcome = Outcome::default();
    let row = |views: &Views| {
        format!(
            "{} roots, {} agree, {} certified, sets from {} nodes",
            views.roots, views.agreeing, views.certified, views.least
        )
    };
    for (name, run) in [["short_apart", "short_after"], ["long_apart", "long_after"]]
        .into_iter()
        .zip(runs)
    {
        for (name, views) in name.into_iter().zip([&run.apart, &run.after]) {
            let rows: Vec<_> = views.iter().map(row).collect();
            outcome.figures.add(name, rows.join("; "));
        }
    }
    for (name, run) in ["merged_short", "merged_long"].into_iter().zip(runs) {
        let merged = run.merged_in(nodes);
        outcome.holds(
            name,
            format!("one set of all {nodes} within {MOST_TO_MERGE} epochs"),
            merged.map_or("never".to_owned(), |epochs| epochs.to_string()),
            merged.is_some_and(|epochs| epochs <= MOST_TO_MERGE),
        );
    }
    let undetected = runs.iter().flat_map(|run| &run.apart);
    let undetected = undetected.filter(|views| views.roots < 2).count();
    outcome.holds(
        "split_is_visible",
        "the halves hold different roots".to_owned(),
        undetected as f64,
        undetected == 0,
    );
    outcome
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn halves_come_together() {
        let run = run(2, 24, 2);
        assert!(run.apart.last().is_some_and(|views| views.roots >= 2));
        assert!(
            run.merged_in(24).is_some_and(|epochs| epochs <= 2),
            "{:?}",
            run.after
        );
    }
}
