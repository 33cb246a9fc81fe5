//! The flock: which nodes mix in a slot, computed by anyone from public totals.
//!
//! If all nodes mixed all the time, the pool a packet meets would stay thin whatever the network's size. So duty rotates: node i
//! is on duty in a slot iff its draw `H(seed ‖ slot ‖ short id)` lies below a threshold that grows with its weight. A small mesh
//! has everyone on duty. Holds the draw and [`Flock`]; does not open links. SPEC.md §8.

use crate::{
    directory::{Directory, Totals},
    id::derive,
    network::NetworkParams,
};
use mix::{ShortId, time::Moment};
use std::sync::Arc;

mod topology;

/// At least this many nodes are on duty, if there are as many.
pub const MIN_ON_DUTY: u32 = 16;
/// Up to this many nodes, everyone is on duty all the time.
pub const EVERYONE_UP_TO: u32 = 32;
/// Packets a packet of the fast class should meet in the pool of a hop.
pub const FAST_POOL: u64 = 12;

/// The slot `now` lies in, counted from genesis.
pub fn slot_at(params: &NetworkParams, now: Moment) -> u64 {
    now.as_millis().saturating_sub(params.genesis_ms) / params.slot_ms.max(1)
}

/// How many nodes should be on duty: as many as the traffic fills with [`FAST_POOL`] packets each, at least [`MIN_ON_DUTY`] and at
/// most all.
///
/// A pool holds (arrivals per second) × (mean delay); all nodes together cause rate × hops arrivals.
pub fn target(params: &NetworkParams, totals: &Totals) -> u32 {
    if totals.mixes <= EVERYONE_UP_TO {
        return totals.mixes;
    }
    let packet_hops = u128::from(totals.rate_mhz)
        * u128::from(params.mixing_hops)
        * u128::from(params.delay_ms[0]);
    let filled = packet_hops / (1_000_000 * u128::from(FAST_POOL));
    u32::try_from(filled)
        .unwrap_or(u32::MAX)
        .clamp(MIN_ON_DUTY, totals.mixes)
}

/// Node is on duty iff its draw lies below this, on the scale of 2⁶⁴: target × weight / total weight.
pub fn threshold(weight: u8, totals: &Totals, target: u32) -> u128 {
    const ALWAYS: u128 = 1 << 64;
    if weight == 0 {
        return 0;
    }
    if target >= totals.mixes {
        return ALWAYS;
    }
    ((u128::from(target) * u128::from(weight)) << 64)
        .checked_div(u128::from(totals.weight))
        .unwrap_or(0)
        .min(ALWAYS)
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

/// Who is on duty in one slot. Also a `Topology` that offers only those as mixing hops.
#[derive(Clone, Debug)]
pub struct Flock {
    directory: Arc<Directory>,
    slot: u64,
    /// Directory indices, ascending.
    members: Vec<u32>,
}

impl Flock {
    /// Draws the flock of a slot. One hash per mixing node; keep the result for the slot.
    pub fn new(directory: Arc<Directory>, slot: u64) -> Self {
        let totals = directory.totals();
        let target = target(directory.params(), &totals);
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
            if u128::from(draw) < threshold(weight, &totals, target) {
                members.push(i);
            } else {
                rest.push((draw, weight, i));
            }
        }
        let floor = MIN_ON_DUTY.min(totals.mixes) as usize;
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
        Self {
            directory,
            slot,
            members,
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
