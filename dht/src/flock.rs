//! The flock: which nodes mix in a slot, computed by anyone from public totals.
//!
//! If all nodes mixed all the time, the pool a packet meets would stay thin whatever the network's size. So duty rotates: node i
//! is on duty in a slot iff its draw `H(seed ‖ slot ‖ short id)` lies below a threshold that grows with its weight. A small mesh
//! has everyone on duty. Holds the draw and [`Flock`]; does not open links. SPEC.md §8.
//!
//! The rooms: `density` (how many are on duty, how long packets wait), `links` (who holds links to whom), `topology` (what routes
//! see of both), `guarded` (what a leaf's routes see).

use crate::{
    directory::{Directory, Totals},
    id::derive,
    network::NetworkParams,
};
use mix::{ShortId, time::Moment};
use std::sync::Arc;

mod density;
mod guarded;
mod links;
mod topology;

pub use density::{
    EVERYONE_UP_TO, FAST_POOL, MIN_ON_DUTY, SLOW_STRETCH, STRONG_POOL, STRONG_STRETCH, aim,
    hop_delays, pool_milli, target, threshold,
};
pub use guarded::Guarded;
pub use links::{ATTACHED, FULL_MESH_UP_TO, SUCCESSORS, drawn, is_leaf};

/// The slot `now` lies in, counted from genesis.
pub fn slot_at(params: &NetworkParams, now: Moment) -> u64 {
    now.as_millis().saturating_sub(params.genesis_ms) / params.slot_ms.max(1)
}

/// The draw of a node in a slot: the first 8 B of `derive("flock", seed ‖ slot ‖ short id)`, little-endian.
pub fn draw(seed: &[u8; 32], slot: u64, short: &ShortId) -> u64 {
    let hash = derive(
        "murmuration/v1/flock",
        &[seed, &slot.to_le_bytes(), &short.0],
    );
    let mut head = [0; 8];
    head.copy_from_slice(&hash[..8]);
    u64::from_le_bytes(head)
}

/// When a slot begins.
pub fn slot_start(params: &NetworkParams, slot: u64) -> Moment {
    let since = slot.saturating_mul(params.slot_ms.max(1));
    Moment::from_millis(params.genesis_ms.saturating_add(since))
}

/// Who is on duty in one slot, and their links. Also a `Topology` that offers only those nodes as mixing hops and only those
/// links.
#[derive(Clone, Debug)]
pub struct Flock {
    directory: Arc<Directory>,
    slot: u64,
    /// Directory indices, ascending.
    members: Vec<u32>,
    links: links::Links,
}

impl Flock {
    /// Draws the flock of a slot by the directory's own totals. One hash per mixing node, and one per node on duty above
    /// [`FULL_MESH_UP_TO`]; keep the result for the slot.
    pub fn new(directory: Arc<Directory>, slot: u64) -> Self {
        let totals = directory.totals();
        Self::with_totals(directory, &totals, slot)
    }

    /// Draws the flock of a slot by given totals, say those of the epoch before. All must use the same ones.
    pub fn with_totals(directory: Arc<Directory>, totals: &Totals, slot: u64) -> Self {
        let target = target(directory.params(), totals);
        let seed = directory.header().seed;
        let (mut members, mut rest) = (Vec::new(), Vec::new());
        for &i in directory.mixes_indices() {
            let Some(entry) = directory.entry(i as usize) else {
                continue;
            };
            let (weight, draw) = (
                entry.capability().weight(),
                draw(&seed, slot, &entry.short()),
            );
            if u128::from(draw) < threshold(weight, totals, target) {
                members.push(i);
            } else {
                rest.push((draw, weight, i));
            }
        }
        let floor = MIN_ON_DUTY.min(directory.mixes_indices().len() as u32) as usize;
        if members.len() < floor {
            // The draw fell short: the next in line by draw over weight, compared without division.
            rest.sort_by(|a, b| {
                let (left, right) = (
                    u128::from(a.0) * u128::from(b.1),
                    u128::from(b.0) * u128::from(a.1),
                );
                left.cmp(&right).then(a.2.cmp(&b.2))
            });
            members.extend(rest.iter().take(floor - members.len()).map(|(.., i)| *i));
            members.sort_unstable();
        }
        let links = links::Links::new(&directory, slot, &members);
        Self {
            directory,
            slot,
            members,
            links,
        }
    }

    /// The slot it was drawn for.
    pub fn slot(&self) -> u64 {
        self.slot
    }

    /// The directory it was drawn from.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Whether node `i` (in the order of the leaves) is on duty.
    pub fn on_duty(&self, i: usize) -> bool {
        u32::try_from(i).is_ok_and(|i| self.members.binary_search(&i).is_ok())
    }

    /// Whether the node with this short id is on duty.
    pub fn has(&self, short: &ShortId) -> bool {
        self.directory
            .position_of(short)
            .is_some_and(|i| self.on_duty(i))
    }

    /// Directory indices of those on duty, ascending.
    pub fn members(&self) -> &[u32] {
        &self.members
    }

    /// Number of nodes on duty.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether nobody is on duty: only if nobody mixes.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

#[cfg(test)]
mod tests;
