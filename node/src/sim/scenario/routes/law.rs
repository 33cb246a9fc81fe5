//! The law of routes: all permitted walks of a mesh are listed by trying every one, and draws are counted against that list.

use std::collections::BTreeMap;
use std::sync::Arc;

use dht::directory::Totals;
use dht::flock::{Flock, Guarded};
use dht::network::NetworkParams;
use mix::ShortId;
use mix::route::{Router, Topology};

use crate::cli::progress::Progress;
use crate::error::Error;
use crate::sim::crowd::{self, Declared};
use crate::sim::seed::stream;

const EPOCH: u32 = 3;
const HOPS: usize = 3;
const MIN_LIVE: usize = 6;

/// What draws from one mesh showed.
pub(super) struct Law {
    pub(super) name: &'static str,
    pub(super) walks: usize,
    pub(super) draws: usize,
    pub(super) chi_square: f64,
    /// By how many standard deviations the chi-square exceeds its mean.
    pub(super) sigma: f64,
    /// Draws that are not on the list.
    pub(super) foreign: u64,
    /// Draws in which two nodes share a subnet.
    pub(super) clashes: u64,
}

/// One mesh of each kind: all linked, an expander, both ends off duty, a leaf behind its guards.
pub(super) fn all(seed: u64, draws: usize, progress: &Progress) -> Result<Vec<Law>, Error> {
    progress.stage("draws", 4 * draws);
    let small = flock(seed, 14, 14, &|number| number % 9)?;
    let large = flock(seed, 300, 300, &|number| number % 120)?;
    let sparse = flock(seed, 340, 300, &|number| number % 170)?;
    let (on, off) = (sparse.members(), off_duty(&sparse));
    let ends = |flock: &Flock, list: &[u32]| -> Option<[ShortId; 2]> {
        let short = |at: usize| {
            let index = list
                .get(at)
                .copied()
                .and_then(|i| usize::try_from(i).ok())?;
            flock.directory().entry(index).map(|entry| entry.short())
        };
        Some([short(0)?, short(1)?])
    };
    let missing = || Error::internal("the flock of the scenario is too small");
    let own_last = |flock: &Flock| ends(flock, flock.members()).ok_or_else(missing);
    let away = ends(&sparse, &off).ok_or_else(missing)?;
    let guard = ends(&sparse, on).ok_or_else(missing)?;
    let leaf = leaf(&sparse).ok_or_else(missing)?;
    let guarded = Guarded::new(sparse.clone(), leaf, &[guard[0], guard[1], away[0]]);
    Ok(vec![
        check(
            "full_mesh",
            &*small,
            own_last(&small)?,
            seed,
            draws,
            progress,
        )?,
        check(
            "expander",
            &*large,
            own_last(&large)?,
            seed,
            draws,
            progress,
        )?,
        check("off_duty", &*sparse, away, seed, draws, progress)?,
        check("leaf", &guarded, [away[1], leaf], seed, draws, progress)?,
    ])
}

/// A flock of about `on_duty` of so many nodes, and a leaf more. Every tenth node states no subnet.
fn flock(
    seed: u64,
    nodes: u32,
    on_duty: u64,
    subnet: &dyn Fn(u32) -> u32,
) -> Result<Arc<Flock>, Error> {
    let params = Arc::new(NetworkParams::testnet());
    let declared = (0..nodes).map(|number| Declared {
        weight: 1,
        subnet: if number % 10 == 9 {
            0
        } else {
            1 + subnet(number)
        },
    });
    let leaf = Declared {
        weight: 0,
        subnet: 0,
    };
    let directory = crowd::directory(&params, seed, EPOCH, declared.chain([leaf]))?;
    let totals = Totals {
        // What three hops of 0.2 s fill with 12 packets each.
        rate_mhz: on_duty * 20_000,
        ..directory.totals()
    };
    Ok(Arc::new(Flock::with_totals(directory, &totals, 1)))
}

/// Directory indices of mixing nodes off duty.
fn off_duty(flock: &Flock) -> Vec<u32> {
    let nodes = flock.directory().nodes().zip(0u32..);
    nodes
        .filter(|(entry, _)| entry.capability().weight() > 0 && !flock.has(&entry.short()))
        .map(|(_, index)| index)
        .collect()
}

fn leaf(flock: &Flock) -> Option<ShortId> {
    let mut nodes = flock.directory().nodes();
    nodes
        .find(|entry| entry.capability().weight() == 0)
        .map(|entry| entry.short())
}

fn check(
    name: &'static str,
    topology: &impl Topology,
    [own, last]: [ShortId; 2],
    seed: u64,
    draws: usize,
    progress: &Progress,
) -> Result<Law, Error> {
    let mut seen: BTreeMap<[ShortId; HOPS], u32> = BTreeMap::new();
    for walk in walks(topology, own, last) {
        seen.insert(walk.map(|index| topology.mix(index).hop.id), 0);
    }
    let no_route = |cause| Error::internal(format!("the scenario has no route: {cause}"));
    let router = Router::new(topology, HOPS, &last, own, MIN_LIVE, true).map_err(no_route)?;
    let mut rng = stream(seed, name, 0, 0);
    let (mut foreign, mut clashes) = (0, 0);
    for draw in 0..draws {
        if draw % 1_000 == 0 {
            progress.step_by(1_000);
        }
        let path = router.draw(&mut rng).map_err(no_route)?;
        let subnets: Vec<_> = path
            .iter()
            .filter_map(|hop| topology.subnet_of(&hop.id))
            .collect();
        let shared = (1..subnets.len()).any(|at| subnets[..at].contains(&subnets[at]));
        clashes += u64::from(shared);
        let walk: Option<[ShortId; HOPS]> = path.get(..HOPS).and_then(|hops| {
            hops.iter()
                .map(|hop| hop.id)
                .collect::<Vec<_>>()
                .try_into()
                .ok()
        });
        match walk.and_then(|walk| seen.get_mut(&walk)) {
            Some(count) => *count += 1,
            None => foreign += 1,
        }
    }
    let mean = draws as f64 / seen.len().max(1) as f64;
    let chi_square = seen
        .values()
        .map(|count| (f64::from(*count) - mean).powi(2) / mean)
        .sum();
    let freedom = seen.len().saturating_sub(1).max(1) as f64;
    Ok(Law {
        name,
        walks: seen.len(),
        draws,
        chi_square,
        sigma: (chi_square - freedom) / (2.0 * freedom).sqrt(),
        foreign,
        clashes,
    })
}

/// Every permitted walk, by trying all: written without a look at how routes are drawn.
fn walks(topology: &impl Topology, own: ShortId, last: ShortId) -> Vec<[usize; HOPS]> {
    let all: Vec<u32> = (0..topology.mixes())
        .filter_map(|index| u32::try_from(index).ok())
        .collect();
    let index = |list: &[u32]| {
        list.iter()
            .filter_map(|i| usize::try_from(*i).ok())
            .collect::<Vec<_>>()
    };
    let first = index(&topology.first_hops(&own).unwrap_or_else(|| all.clone()));
    let ends = index(&topology.last_hops(&last).unwrap_or_else(|| all.clone()));
    let next = |from: usize| index(topology.next_hops(from).unwrap_or(&all));
    let fits = |walk: &[usize]| {
        let ids: Vec<ShortId> = walk
            .iter()
            .map(|i| topology.mix(*i).hop.id)
            .chain([last])
            .collect();
        let tags: Vec<_> = ids.iter().filter_map(|id| topology.subnet_of(id)).collect();
        !walk.iter().any(|i| topology.mix(*i).hop.id == own)
            && (1..ids.len()).all(|at| !ids[..at].contains(&ids[at]))
            && (1..tags.len()).all(|at| !tags[..at].contains(&tags[at]))
    };
    let mut found = Vec::new();
    for a in first {
        for b in next(a) {
            for c in next(b) {
                if ends.contains(&c) && topology.is_inner(b) && fits(&[a, b, c]) {
                    found.push([a, b, c]);
                }
            }
        }
    }
    found
}
