//! Duty and pools: who is on duty over many slots, which hops routes take, and how many packets wait together.

use std::collections::BTreeMap;
use std::sync::Arc;

use dht::flock::{self, FAST_POOL, Flock, MIN_ON_DUTY, STRONG_POOL};
use dht::network::NetworkParams;
use mix::ShortId;
use mix::time::Span;
use rand_core::Rng;

use super::round;
use crate::cli::progress::Progress;
use crate::error::Error;
use crate::sim::crowd::{self, Declared};
use crate::sim::seed::stream;

const EPOCH: u32 = 3;
/// Routes drawn in each slot.
const ROUTES: usize = 10;
/// Slots over which the pools of one mesh are averaged.
const POOL_SLOTS: u64 = 300;
/// Nodes by weight.
const CLASSES: [(&str, u8, usize); 3] = [
    ("weight_1", 1, 160),
    ("weight_4", 4, 30),
    ("weight_8", 8, 10),
];

/// Duty and load of the nodes of one weight together, as shares of everyone's.
pub(super) struct Class {
    pub(super) name: &'static str,
    pub(super) nodes: usize,
    pub(super) duty: f64,
    pub(super) load: f64,
    /// Their share of the weight.
    pub(super) due: f64,
}

pub(super) struct Shares {
    pub(super) classes: Vec<Class>,
    /// The largest part by which a single node's duty differs from its due.
    pub(super) worst_node: f64,
    pub(super) on_duty: f64,
}

/// Counts duty and hops over many slots of a mesh in which about forty of two hundred are on duty.
pub(super) fn shares(seed: u64, slots: u64, progress: &Progress) -> Result<Shares, Error> {
    progress.stage("slots", usize::try_from(slots).unwrap_or(usize::MAX));
    // Lively traffic, so that more than the least sixteen are on duty.
    let params = Arc::new(NetworkParams {
        rates_eco: [3_500, 400, 100],
        ..NetworkParams::testnet()
    });
    let kinds = CLASSES
        .iter()
        .flat_map(|(_, weight, count)| std::iter::repeat_n(*weight, *count));
    let declared = kinds.map(|weight| Declared { weight, subnet: 0 });
    let directory = crowd::directory(&params, seed, EPOCH, declared)?;
    let mut rng = stream(seed, "duty", 0, 0);
    let mut duty = vec![0u64; directory.len()];
    let mut load: BTreeMap<ShortId, u64> = BTreeMap::new();
    let shorts: Vec<ShortId> = directory.nodes().map(|entry| entry.short()).collect();
    for slot in 0..slots {
        if slot % 100 == 0 {
            progress.step_by(100);
        }
        let flock = Flock::new(directory.clone(), slot);
        for member in flock.members() {
            if let Some(count) = usize::try_from(*member).ok().and_then(|i| duty.get_mut(i)) {
                *count += 1;
            }
        }
        for _ in 0..ROUTES {
            let [own, last] = [(); 2].map(|()| pick(&shorts, &mut rng));
            let drawn = mix::route::draw(&flock, 3, &last, own, 6, true, &mut rng);
            let path = drawn.map_err(|cause| Error::internal(cause.to_string()))?;
            for hop in path.iter().take(3) {
                *load.entry(hop.id).or_default() += 1;
            }
        }
    }
    let weight = |i: usize| {
        directory
            .entry(i)
            .map_or(0.0, |entry| f64::from(entry.capability().weight()))
    };
    let weights: f64 = (0..duty.len()).map(weight).sum();
    let duties: f64 = duty.iter().map(|count| *count as f64).sum();
    let loads: f64 = load.values().map(|count| *count as f64).sum();
    let off = |i: usize| (duty[i] as f64 / duties) / (weight(i) / weights) - 1.0;
    let worst_node = (0..duty.len()).map(|i| off(i).abs()).fold(0.0, f64::max);
    let classes = CLASSES.map(|(name, class, nodes)| {
        let of = |i: &usize| weight(*i) == f64::from(class);
        let mine: Vec<usize> = (0..duty.len()).filter(of).collect();
        let carried = |i: &usize| load.get(&shorts[*i]).copied().unwrap_or(0) as f64;
        Class {
            name,
            nodes,
            duty: mine.iter().map(|i| duty[*i] as f64).sum::<f64>() / duties,
            load: mine.iter().map(carried).sum::<f64>() / loads,
            due: mine.iter().map(|i| weight(*i)).sum::<f64>() / weights,
        }
    });
    Ok(Shares {
        classes: classes.into(),
        worst_node,
        on_duty: duties / slots.max(1) as f64,
    })
}

fn pick(list: &[ShortId], rng: &mut impl Rng) -> ShortId {
    let bound = u64::try_from(list.len().max(1)).unwrap_or(1);
    let at = usize::try_from(rng.next_u64() % bound).unwrap_or(0);
    list.get(at).copied().unwrap_or(ShortId([0; 16]))
}

/// The pools of one mesh.
pub(super) struct Pools {
    nodes: u32,
    rate: f64,
    on_duty: f64,
    /// Whether the traffic fills the least number of pools.
    pub(super) allowed: bool,
    fast: f64,
    strong: f64,
    slow: f64,
    waits: [Span; 3],
    longest: [Span; 3],
}

impl Pools {
    /// The thinner of the fast and the strong pool, in parts of what is wanted.
    pub(super) fn margin(&self) -> f64 {
        (self.fast / FAST_POOL as f64).min(self.strong / STRONG_POOL as f64)
    }

    /// Whether strong and slow packets meet enough others, or can't wait any longer.
    pub(super) fn waits_enough(&self) -> bool {
        // The mean over slots of a pool, not of a flock: half a percent on the safe side of what is computed per epoch.
        let full = |pool: f64| pool >= STRONG_POOL as f64 * 0.995;
        (full(self.strong) || self.waits[1] == self.longest[1])
            && (full(self.slow) || self.waits[2] == self.longest[2])
    }

    pub(super) fn row(&self) -> String {
        format!(
            "{} nodes at {}/s: {} on duty, {} fast, {} strong in {} s, {} slow in {} s",
            self.nodes,
            round(self.rate, 2),
            round(self.on_duty, 1),
            round(self.fast, 1),
            round(self.strong, 1),
            self.waits[1].as_secs_f64(),
            round(self.slow, 1),
            self.waits[2].as_secs_f64(),
        )
    }
}

/// The pools of meshes from small to large, quiet and lively.
pub(super) fn pools(seed: u64, progress: &Progress) -> Result<Vec<Pools>, Error> {
    let testnet = NetworkParams::testnet();
    let rates = [testnet.rates_eco, testnet.rates_balanced];
    let sizes = [50, 150, 500, 1_500];
    progress.stage("meshes", rates.len() * sizes.len());
    let mut found = Vec::new();
    for rates_eco in rates {
        let params = Arc::new(NetworkParams {
            rates_eco,
            ..testnet.clone()
        });
        for nodes in sizes {
            progress.step();
            // One in twenty is strong.
            let declared = (0..nodes).map(|number| Declared {
                weight: if number % 20 == 0 { 8 } else { 1 },
                subnet: 0,
            });
            let directory = crowd::directory(&params, seed, EPOCH, declared)?;
            let totals = directory.totals();
            let waits = flock::hop_delays(&params, &totals);
            let (mut on_duty, mut pools) = (0.0, [0.0; 3]);
            for slot in 0..POOL_SLOTS {
                let size = Flock::new(directory.clone(), slot).len();
                on_duty += size as f64 / POOL_SLOTS as f64;
                for (pool, wait) in pools.iter_mut().zip(waits) {
                    let held = flock::pool_milli(&params, &totals, size, wait);
                    *pool += held as f64 / 1_000.0 / POOL_SLOTS as f64;
                }
            }
            let [_, strong, slow] = params.delay_ms;
            // What fills the least flock, with the strong class's own delay.
            let least = usize::try_from(MIN_ON_DUTY).unwrap_or(usize::MAX);
            let milli =
                |mean: u64| flock::pool_milli(&params, &totals, least, Span::from_millis(mean));
            found.push(Pools {
                nodes,
                rate: totals.rate_mhz as f64 / 1_000.0 / f64::from(nodes),
                on_duty,
                allowed: nodes > flock::EVERYONE_UP_TO
                    && milli(params.delay_ms[0]) >= FAST_POOL * 1_000
                    && milli(strong) >= STRONG_POOL * 1_000,
                fast: pools[0],
                strong: pools[1],
                slow: pools[2],
                waits,
                longest: [
                    params.delay_ms[0],
                    strong * flock::STRONG_STRETCH,
                    slow * flock::SLOW_STRETCH,
                ]
                .map(Span::from_millis),
            });
        }
    }
    Ok(found)
}
