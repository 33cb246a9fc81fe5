//! One node in five breaks the rules, each in its own way: the honest ones agree or say that they don't, and liars are kept out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use dht::epoch;
use mix::time::Span;

use super::{Outcome, Scenario};
use crate::cli::progress::Progress;
use crate::error::Error;
use crate::sim::mesh::{Mesh, MeshConfig, Role};

const NODES: usize = 100;
const RUNS: usize = 1_000;
/// The epochs of a run. In the first the mesh comes up; equivocation of it must be answered before the last.
const EPOCHS: u32 = 3;
const THREADS: usize = 2;
const SETTLED: Span = Span::from_secs(120);
/// One of each in turn, for the hostile nodes.
const ROLES: [Role; 7] = [
    Role::TwoBeats,
    Role::TwoVotes,
    Role::Silent,
    Role::Late,
    Role::Omitter,
    Role::Forger,
    Role::Flooder,
];

pub(super) struct PkiAttack;

/// What runs came to; all add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    runs: u64,
    epochs: u64,
    /// Most honest nodes hold a certified set.
    certified: u64,
    /// All honest nodes hold the same root.
    one_root: u64,
    /// Honest nodes hold different sets that they take for certified.
    split: u64,
    /// Honest nodes that differ from most and don't say that anything is wrong.
    unflagged: u64,
    /// Pairs of a liar and an honest node that still lists it.
    unbanned: u64,
    /// Bans of nodes that never signed two things.
    honest_banned: u64,
    liars: u64,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.epochs += other.epochs;
        self.certified += other.certified;
        self.one_root += other.one_root;
        self.split += other.split;
        self.unflagged += other.unflagged;
        self.unbanned += other.unbanned;
        self.honest_banned += other.honest_banned;
        self.liars += other.liars;
    }
}

impl Scenario for PkiAttack {
    fn name(&self) -> &'static str {
        "pki-attack"
    }

    fn about(&self) -> &'static str {
        "1,000 runs of 100 nodes, a fifth of them hostile: one root or a flag, liars banned, nobody else (long)"
    }

    fn run(&self, seed: u64, progress: &Progress) -> Result<Outcome, Error> {
        Ok(judge(&many(seed, NODES, RUNS, progress)))
    }
}

pub(super) fn many(seed: u64, nodes: usize, runs: usize, progress: &Progress) -> Seen {
    progress.stage("runs", runs);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut seen = Seen::default();
        loop {
            let run = next.fetch_add(1, Ordering::Relaxed);
            if run >= runs {
                return seen;
            }
            // Sums don't depend on who ran what.
            seen.add(&one(
                seed.wrapping_mul(1_000_003).wrapping_add(run as u64),
                nodes,
            ));
        }
    };
    let mut total = Seen::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            if let Ok(seen) = thread.join() {
                total.add(&seen);
            }
        }
    });
    progress.at(runs);
    total
}

fn one(seed: u64, nodes: usize) -> Seen {
    let mut config = MeshConfig::testnet(seed, nodes);
    let hostile = nodes / 5;
    let role = |number: usize| match number % 5 {
        4 => ROLES[(number / 5 + seed as usize) % ROLES.len()],
        _ => Role::Honest,
    };
    config.roles = (0..hostile * 5).map(role).collect();
    let params = config.params.clone();
    let mut mesh = Mesh::new(config);
    let mut seen = Seen {
        runs: 1,
        ..Seen::default()
    };
    for e in 1..=EPOCHS {
        mesh.run_until(epoch::start_of(&params, e));
        look(&mut mesh, e, &mut seen);
    }
    seen
}

fn look(mesh: &mut Mesh, e: u32, seen: &mut Seen) {
    let honest = mesh.honest(SETTLED);
    let mut roots: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    let mut certified: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    let mut flagged = Vec::new();
    for &node in &honest {
        let Some(view) = mesh.pki(node).and_then(|pki| pki.epoch_view(e)) else {
            continue;
        };
        *roots.entry(view.root).or_default() += 1;
        if view.degraded.is_none() {
            *certified.entry(view.root).or_default() += 1;
        }
        flagged.push((view.root, view.degraded.is_some()));
        let Some(set) = mesh.directory(node, e) else {
            continue;
        };
        for (short, _) in set.bans().iter() {
            let role = mesh.number_of(short).map(|number| mesh.role(number));
            seen.honest_banned += u64::from(role.is_some_and(|role| !role.equivocates()));
        }
    }
    let most = roots.iter().max_by_key(|(_, count)| **count);
    let most = most.map(|(root, _)| *root);
    seen.epochs += 1;
    seen.one_root += u64::from(roots.len() == 1);
    seen.split += u64::from(certified.len() > 1);
    seen.certified += u64::from(certified.values().sum::<usize>() * 2 > honest.len());
    let silent = |(root, flag): &&([u8; 32], bool)| Some(*root) != most && !flag;
    seen.unflagged += flagged.iter().filter(silent).count() as u64;
    if e == EPOCHS {
        let liars = (0..NODES as u32).filter(|node| (*node as usize) < mesh.running());
        let liars: Vec<u32> = liars
            .filter(|node| mesh.role(*node).equivocates())
            .collect();
        seen.liars += liars.len() as u64;
        for liar in liars {
            let short = mesh.short(liar);
            for &node in &honest {
                let set = mesh.directory(node, e);
                let listed = set.is_none_or(|set| set.by_short(&short).is_some());
                seen.unbanned += u64::from(listed);
            }
        }
    }
}

pub(super) fn judge(seen: &Seen) -> Outcome {
    let mut outcome = Outcome::default();
    let figures = &mut outcome.figures;
    figures.add("runs", seen.runs);
    figures.add("epochs", seen.epochs);
    figures.add("epochs_certified", seen.certified);
    figures.add("epochs_of_one_root", seen.one_root);
    figures.add("epochs_of_two_certified_roots", seen.split);
    figures.add("deviations_not_flagged", seen.unflagged);
    figures.add("equivocators", seen.liars);
    figures.add("equivocators_still_listed", seen.unbanned);
    figures.add("honest_banned", seen.honest_banned);
    outcome.want("one_certified_root", "epochs_of_two_certified_roots", 0);
    outcome.want("deviations_flagged", "deviations_not_flagged", 0);
    outcome.want("equivocators_banned", "equivocators_still_listed", 0);
    outcome.want("nobody_framed", "honest_banned", 0);
    outcome
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn liars_are_kept_out_and_nobody_else() {
        let seen = many(5, 35, 2, &Progress::new(true));
        assert_eq!(seen.runs, 2);
        assert!(seen.liars > 0);
        let outcome = judge(&seen);
        assert!(outcome.ok(), "{:?}", outcome.targets);
    }
}
