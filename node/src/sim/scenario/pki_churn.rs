//! The PKI alone under churn and loss: do all see one set, is it certified in time, and what does it cost.

use std::collections::BTreeMap;

use dht::epoch;
use mix::time::Span;
use rand_core::Rng;
use serde_json::{Value, json};

use super::{Figures, Outcome, Scenario};
use crate::cli::progress::Progress;
use crate::error::Error;
use crate::sim::mesh::{Churn, Mesh, MeshConfig, Raw, Role, Traffic};
use crate::sim::seed::stream;

/// Epochs that are counted; the mesh comes up in the one before.
const EPOCHS: u32 = 20;
/// Who came later than this before an epoch is still reading.
const SETTLED: Span = Span::from_secs(120);
/// A certificate has so long from its cut-off.
const IN_TIME_S: u64 = 120;
/// Nodes of a cell, and of a mesh of many.
const CELL: f64 = 8_192.0;
const MOST_BYTES: f64 = 3.0;

/// `pki-churn`, and its long form.
pub(super) struct PkiChurn {
    pub(super) name: &'static str,
    pub(super) nodes: usize,
}

/// What one epoch came to.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Honest nodes, and those of them that hold the root most hold.
    honest: usize,
    agreeing: usize,
    certified: bool,
    /// Seconds from the cut-off until nine in ten held a certificate.
    after_s: Option<u64>,
    running: u64,
    traffic: Traffic,
    raw: Raw,
}

/// A run of one mesh.
pub(super) struct Run {
    nodes: usize,
    seen: Vec<Seen>,
    events: u64,
}

impl Scenario for PkiChurn {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        if self.nodes > 1_000 {
            "3,000 nodes of the PKI alone, 5 % gossip loss, 30 %/h churn, 5 epochs: one root, certificates, bytes (long)"
        } else {
            "1,000 nodes of the PKI alone, 5 % gossip loss, 30 %/h churn, 20 epochs: one root, certificates, bytes"
        }
    }

    fn run(&self, seed: u64, progress: &Progress) -> Result<Outcome, Error> {
        if self.nodes > 1_000 {
            let long = run(seed, self.nodes, 5, 0.0, progress);
            return Ok(judge(&[long], &[]));
        }
        let sizes = [(100, EPOCHS), (300, EPOCHS), (self.nodes, EPOCHS)];
        let meshes = sizes.map(|(nodes, epochs)| run(seed, nodes, epochs, 0.0, progress));
        let silent = [0.1, 0.2].map(|share| (share, run(seed, 300, EPOCHS, share, progress)));
        Ok(judge(&meshes, &silent))
    }
}

pub(super) fn run(seed: u64, nodes: usize, epochs: u32, silent: f64, progress: &Progress) -> Run {
    progress.stage(&format!("epochs of {nodes} nodes"), epochs as usize);
    let mut config = MeshConfig::testnet(seed, nodes);
    config.churn = Some(Churn {
        leave_per_hour: 0.3,
        away: Span::from_secs(3_600),
        replaced: 0.25,
    });
    let mut dice = stream(seed, "silent", nodes as u64, 0);
    let mut role = || match f64::from(dice.next_u32()) < silent * f64::from(u32::MAX) {
        true => Role::Silent,
        false => Role::Honest,
    };
    config.roles = (0..nodes).map(|_| role()).collect();
    let params = config.params.clone();
    let mut mesh = Mesh::new(config);
    mesh.run_until(epoch::start_of(&params, 1));
    mesh.take_traffic();
    let mut seen = Vec::new();
    for e in 2..2 + epochs {
        let after_s = certificate_time(&mut mesh, e);
        mesh.run_until(epoch::start_of(&params, e));
        seen.push(look(&mut mesh, e, after_s));
        progress.step();
    }
    let events = mesh.events();
    Run {
        nodes,
        seen,
        events,
    }
}

/// Runs up to two minutes past the cut-off of an epoch.
fn certificate_time(mesh: &mut Mesh, e: u32) -> Option<u64> {
    let cutoff = epoch::cutoff(mesh.params(), e);
    for after in (30..=IN_TIME_S).step_by(2) {
        mesh.run_until(cutoff + Span::from_secs(after));
        let honest = mesh.honest(SETTLED);
        let held = (honest.iter())
            .filter(|node| {
                mesh.pki(**node)
                    .is_some_and(|pki| pki.certificate(e).is_some())
            })
            .count();
        if held * 10 >= honest.len() * 9 {
            return Some(after);
        }
    }
    None
}

/// What honest nodes hold at the start of an epoch.
fn look(mesh: &mut Mesh, e: u32, after_s: Option<u64>) -> Seen {
    let honest = mesh.honest(SETTLED);
    let mut roots: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    let mut certified = 0;
    for &node in &honest {
        let view = mesh.pki(node).and_then(|pki| pki.epoch_view(e));
        if let Some(view) = view {
            *roots.entry(view.root).or_default() += 1;
            certified += usize::from(view.degraded.is_none());
        }
    }
    let (traffic, raw) = mesh.take_traffic();
    Seen {
        honest: honest.len(),
        agreeing: roots.values().copied().max().unwrap_or(0),
        certified: certified * 2 > honest.len(),
        after_s,
        running: mesh.running() as u64,
        traffic,
        raw,
    }
}

impl Run {
    fn certified(&self) -> f64 {
        let certified = self.seen.iter().filter(|one| one.certified).count();
        certified as f64 / self.seen.len().max(1) as f64
    }

    /// The least and the mean share of honest nodes that agree at an epoch's start.
    fn agreement(&self) -> (f64, f64) {
        let share = |one: &Seen| one.agreeing as f64 / one.honest.max(1) as f64;
        let least = self.seen.iter().map(share).fold(1.0, f64::min);
        let (agreeing, honest) = (self.seen.iter()).fold((0, 0), |sum, one| {
            (sum.0 + one.agreeing, sum.1 + one.honest)
        });
        (least, agreeing as f64 / honest.max(1) as f64)
    }

    /// Bytes that a node sent in an epoch, and those of the distinct new records published in it.
    fn bytes(&self) -> (f64, f64) {
        let epochs = self.seen.len().max(1) as f64;
        let sent = |one: &Seen| one.traffic.sent() as f64 / one.running.max(1) as f64;
        let sent: f64 = self.seen.iter().map(sent).sum();
        let raw: f64 = self.seen.iter().map(|one| one.raw.bytes as f64).sum();
        (sent / epochs, raw / epochs)
    }

    fn row(&self) -> Value {
        let (sent, raw) = self.bytes();
        let mut total = Traffic::default();
        for one in &self.seen {
            total.add(&one.traffic);
        }
        let node_epochs = self.seen.iter().map(|one| one.running).sum::<u64>();
        let (least, mean) = self.agreement();
        json!({
            "nodes": self.nodes,
            "epochs": self.seen.len(),
            "sent": sent.round(),
            "received": (total.received() / node_epochs.max(1)),
            "raw": raw.round(),
            "times_raw": round(sent / raw.max(1.0), 2),
            "by_kind": total.by_kind(node_epochs),
            "agreeing_least": round(least, 5),
            "agreeing_mean": round(mean, 5),
            "certified": round(self.certified(), 3),
            "slowest_certificate_s": self.seen.iter().filter_map(|one| one.after_s).max(),
        })
    }
}

pub(super) fn judge(meshes: &[Run], silent: &[(f64, Run)]) -> Outcome {
    let mut figures = Figures::default();
    let mut outcome = Outcome::default();
    let names = ["mesh_1", "mesh_2", "mesh_3"];
    for (name, run) in names.into_iter().zip(meshes) {
        figures.add(name, run.row());
    }
    for (name, (_, run)) in ["silent_tenth", "silent_fifth"].into_iter().zip(silent) {
        figures.add(name, run.row());
    }
    let Some(main) = meshes.last() else {
        return outcome;
    };
    let (least, _) = main.agreement();
    let (sent, raw) = main.bytes();
    let in_time = main.seen.iter().filter(|one| one.after_s.is_some()).count();
    let certified = main.seen.iter().filter(|one| one.certified).count();
    figures.add("degraded_epochs", main.seen.len() - certified);
    if let Some((fixed, each)) = fit(meshes) {
        figures.add("bytes_fixed", fixed.round());
        figures.add("bytes_per_known_node", round(each, 1));
        let cell = fixed + each * CELL;
        figures.add("million_in_cells_mb_a_day", round(cell * 24.0 / 1e6, 1));
    }
    figures.add("events", meshes.iter().map(|run| run.events).sum::<u64>());
    outcome.figures = figures;
    outcome.holds(
        "one_root",
        "99.9 % of honest nodes at each epoch start".to_owned(),
        round(least, 5),
        least >= 0.999,
    );
    outcome.holds(
        "bytes",
        format!("at most {MOST_BYTES} times the raw records"),
        round(sent / raw.max(1.0), 2),
        sent <= MOST_BYTES * raw,
    );
    outcome.holds(
        "certificate_in_time",
        format!("each that comes within {IN_TIME_S} s of its cut-off"),
        format!("{in_time} of {certified}"),
        in_time >= certified && certified > 0,
    );
    outcome.holds(
        "epochs_certified",
        "99 % if nobody is silent".to_owned(),
        round(main.certified(), 3),
        main.certified() >= 0.99,
    );
    outcome
}

/// Least squares: what a node sends whatever the size of the mesh, and for each node in it.
fn fit(meshes: &[Run]) -> Option<(f64, f64)> {
    let count = meshes.len() as f64;
    let points = meshes.iter().map(|run| (run.nodes as f64, run.bytes().0));
    let (x, y) = points
        .clone()
        .fold((0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1));
    let (x, y) = (x / count, y / count);
    let (up, down) = points.fold((0.0, 0.0), |sum, (a, b)| {
        (sum.0 + (a - x) * (b - y), sum.1 + (a - x) * (a - x))
    });
    (down > 0.0).then(|| (y - up / down * x, up / down))
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
    fn a_small_mesh_certifies_one_set_and_repeats() {
        let one = run(3, 30, 2, 0.0, &Progress::new(true));
        assert_eq!(one.certified(), 1.0);
        assert!(one.agreement().0 > 0.9, "{:?}", one.seen);
        let again = run(3, 30, 2, 0.0, &Progress::new(true));
        assert_eq!(one.row(), again.row());
    }

    #[test]
    fn the_fit_is_a_line() {
        let mesh = |nodes: usize, bytes: usize| {
            let (mut traffic, mut raw) = (Traffic::default(), Raw::default());
            traffic.send(crate::sim::mesh::Kind::Gossip, bytes as u64);
            raw.add(1);
            let seen = Seen {
                honest: nodes,
                agreeing: nodes,
                certified: true,
                after_s: None,
                running: 1,
                traffic,
                raw,
            };
            Run {
                nodes,
                seen: vec![seen],
                events: 0,
            }
        };
        let (fixed, each) = fit(&[mesh(100, 1_200), mesh(300, 3_200), mesh(500, 5_200)]).unwrap();
        assert!((fixed - 200.0).abs() < 1e-6 && (each - 10.0).abs() < 1e-9);
    }
}
