//! A fresh node four of whose five answers come from liars: it ends in the honest view, or says that it isn't ready.
//!
//! The liars run a mesh of their own by the same rules of the same network, with certificates for every epoch, and answer out of
//! that, with nothing, or with noise. The newcomer knows one root of the honest mesh, from a contact's address, or none at all.

use std::sync::Arc;

use dht::pki::head_key;
use dht::{Caps, NodeId, Pki, epoch};
use ed25519_dalek::SigningKey;
use mix::time::{Moment, Span};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::{Outcome, Scenario};
use crate::cli::progress::Progress;
use crate::error::Error;
use crate::sim::mesh::{Mesh, MeshConfig, Served};
use crate::sim::seed::stream;

const RUNS: u64 = 1_000;
const NODES: usize = 40;
/// The epoch in which newcomers come, and the one whose root they know.
const PRESENT: u32 = 4;
const CHECKPOINT: u32 = 2;
/// Of a hundred answers, so many are lies.
const HOSTILE: u64 = 80;
/// Answers to a lookup: as many as `dht::net` waits for, and distinct values it hands over of a head, and of anything else.
const ANSWERS: usize = 8;
const VALUES: usize = 3;
/// How long a newcomer tries.
const PATIENCE: Span = Span::from_secs(900);
const STEP: Span = Span::from_millis(500);

pub(super) struct Eclipse;

/// How newcomers ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    honest: u64,
    not_ready: u64,
    eclipsed: u64,
}

/// What there is to find.
pub(super) struct Sea {
    honest: Served,
    hostile: Served,
    /// Roots of the honest mesh: the checkpoint, the present.
    checkpoint: [u8; 32],
    present: [u8; 32],
    config: MeshConfig,
    start: Moment,
    checks: Arc<dht::checks::Checks>,
}

impl Scenario for Eclipse {
    fn name(&self) -> &'static str {
        "eclipse"
    }

    fn about(&self) -> &'static str {
        "1,000 newcomers, 80 % of whose answers are lies: the honest view, or not ready"
    }

    fn run(&self, seed: u64, progress: &Progress) -> Result<Outcome, Error> {
        let sea = sea(seed, NODES).ok_or_else(|| Error::internal("the meshes certify nothing"))?;
        let with = many(&sea, seed, RUNS, true, progress);
        let without = many(&sea, seed, RUNS / 10, false, progress);
        Ok(judge(&with, &without))
    }
}

/// Two meshes of one network that never hear of each other.
pub(super) fn sea(seed: u64, nodes: usize) -> Option<Sea> {
    let mut config = MeshConfig::testnet(seed, nodes);
    config.serves = true;
    let start = epoch::start_of(&config.params, PRESENT) + Span::from_secs(300);
    let mut honest = Mesh::new(config.clone());
    let mut liars = Mesh::new(MeshConfig {
        seed: seed ^ u64::MAX,
        ..config.clone()
    });
    let before = epoch::start_of(&config.params, CHECKPOINT) + Span::from_secs(60);
    honest.run_until(before);
    let checkpoint = honest.directory(0, CHECKPOINT)?.root();
    honest.run_until(start);
    liars.run_until(start);
    let present = honest.directory(0, PRESENT)?;
    honest.pki(0)?.certificate(PRESENT)?;
    Some(Sea {
        checkpoint,
        present: present.root(),
        checks: honest.checks(),
        honest: honest.take_served(),
        hostile: liars.take_served(),
        config,
        start,
    })
}

pub(super) fn many(sea: &Sea, seed: u64, runs: u64, knows: bool, progress: &Progress) -> Ends {
    progress.stage("newcomers", usize::try_from(runs).unwrap_or(0));
    let mut ends = Ends::default();
    for run in 0..runs {
        let mut dice = stream(seed, "eclipse", run, u64::from(knows));
        one(sea, knows, &mut dice, &mut ends);
        progress.step();
    }
    ends
}

fn one(sea: &Sea, knows: bool, dice: &mut ChaCha20Rng, ends: &mut Ends) {
    let mut secret = [0; 32];
    dice.fill_bytes(&mut secret);
    let id = NodeId(SigningKey::from_bytes(&secret).verifying_key().to_bytes());
    let rng = stream(dice.next_u64(), "newcomer", 0, 0);
    let mut pki = Pki::new(sea.config.params.clone(), id, Caps::default(), rng);
    pki.share_checks(sea.checks.clone());
    let mut now = sea.start;
    if knows {
        pki.join(now, sea.checkpoint);
    }
    while now < sea.start + PATIENCE && !is_there(&mut pki) {
        pki.handle_timeout(now);
        while let Some(key) = pki.poll_lookup() {
            answer(sea, &mut pki, now, &key, dice);
        }
        while let Some(request) = pki.poll_sync() {
            // Its neighbours are liars, too.
            pki.handle_sync_failed(now, request.token);
        }
        now += STEP;
    }
    let root = pki.directory(PRESENT).map(|set| set.root());
    match (is_there(&mut pki), root == Some(sea.present)) {
        (true, true) => ends.honest += 1,
        (true, false) => ends.eclipsed += 1,
        (false, _) => ends.not_ready += 1,
    }
}

/// Whether the node takes the present set for certified.
fn is_there(pki: &mut Pki) -> bool {
    let view = pki.epoch_view(PRESENT);
    pki.progress().is_none() && view.is_some_and(|view| view.degraded.is_none())
}

/// Answers a lookup: each answer is a lie, or what the honest mesh serves.
fn answer(sea: &Sea, pki: &mut Pki, now: Moment, key: &[u8; 32], dice: &mut ChaCha20Rng) {
    let network = sea.config.params.id();
    let heads = [PRESENT, PRESENT + 1].map(|epoch| head_key(&network, epoch));
    let most = if heads.contains(key) || knows_many(pki) {
        VALUES
    } else {
        1
    };
    let mut values: Vec<Arc<[u8]>> = Vec::new();
    for _ in 0..ANSWERS {
        let value = if dice.next_u64() % 100 >= HOSTILE {
            latest(&sea.honest, key)
        } else {
            match dice.next_u32() % 3 {
                0 => latest(&sea.hostile, key),
                1 => Some(vec![dice.next_u32() as u8; 300].into()),
                _ => None,
            }
        };
        let Some(value) = value.filter(|value| !values.contains(value)) else {
            continue;
        };
        values.push(value);
        if values.len() == most {
            break;
        }
    }
    for value in values {
        pki.handle_record(now, key, &value);
    }
    pki.handle_lookup_done(now, key);
}

/// On its way from a checkpoint a node looks at several values of each key.
fn knows_many(pki: &Pki) -> bool {
    pki.progress().is_some()
}

fn latest(served: &Served, key: &[u8; 32]) -> Option<Arc<[u8]>> {
    served.get(key)?.last().cloned()
}

pub(super) fn judge(with: &Ends, without: &Ends) -> Outcome {
    let mut outcome = Outcome::default();
    let runs = with.honest + with.not_ready + with.eclipsed;
    for (name, count) in [
        ("runs", runs),
        ("honest_view", with.honest),
        ("not_ready", with.not_ready),
        ("eclipsed", with.eclipsed),
        ("without_checkpoint_honest_view", without.honest),
        ("without_checkpoint_not_ready", without.not_ready),
        ("without_checkpoint_eclipsed", without.eclipsed),
    ] {
        outcome.figures.add(name, count);
    }
    outcome.want("nobody_eclipsed", "eclipsed", 0);
    let share = with.honest as f64 / runs.max(1) as f64;
    outcome.holds(
        "joins",
        "95 %, or not ready".to_owned(),
        (share * 1_000.0).round() / 1_000.0,
        with.eclipsed * 20 <= runs && with.honest > 0,
    );
    outcome
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn with_a_root_nobody_ends_among_liars() {
        let sea = sea(1, 12).unwrap();
        let ends = many(&sea, 1, 6, true, &Progress::new(true));
        assert_eq!((ends.eclipsed, ends.honest + ends.not_ready), (0, 6));
        assert!(ends.honest > 0);
    }
}
