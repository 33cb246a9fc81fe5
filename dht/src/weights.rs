//! Ages and effective weights: what an epoch grants a node, by public rules that everyone computes alike.
//!
//! A node declares a weight; its age and its subnet cap it, so that many new or neighbouring identities get little. Holds
//! [`Standing`] (the two bytes of a leaf), the rule of ages and the rule of weights, in integers. Knows nothing of signatures.
//! SPEC.md §14.

use crate::{beat::Beat, descriptor::Capability, descriptor::Descriptor, network::NetworkParams};
use std::collections::BTreeMap;

/// Ages grow up to this and stay there.
pub const MAX_AGE: u8 = 15;
/// A subnet may have this weight in any network.
pub const SUBNET_FLOOR: u64 = 8;
/// A subnet above the floor has at most one part in this many of the total.
pub const SUBNET_PART: u64 = 16;
/// A holder or witness is this many times as old as a hop must be.
const WITNESS_FACTOR: u32 = 6;

/// What an epoch grants a node: effective weight and holding, and the age they rest on. Two bytes of its leaf.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Standing {
    /// Effective weight and holding.
    pub capability: Capability,
    /// Certified epochs since admission, 0 to 15.
    pub age: u8,
}

impl Standing {
    /// Where nobody's age is known (union mode): everyone counts as grown up, and what descriptor and beat both say holds.
    pub fn declared(descriptor: &Descriptor, beat: &Beat) -> Self {
        Self {
            capability: descriptor.fields().capability.and(beat.fields().capability),
            age: MAX_AGE,
        }
    }

    /// Weight, then flags: holding in bit 0, age in bits 1–4.
    pub fn to_bytes(self) -> [u8; 2] {
        let flags = u8::from(self.capability.holder()) | self.age << 1;
        [self.capability.weight(), flags]
    }

    /// Reads the two bytes; `None` unless canonical.
    pub fn from_bytes([weight, flags]: [u8; 2]) -> Option<Self> {
        let age = flags >> 1;
        (age <= MAX_AGE).then_some(())?;
        Some(Self {
            capability: Capability::new(weight, flags & 1 == 1)?,
            age,
        })
    }

    /// Whether two records of a node may lead to this standing: rules only ever take away.
    pub fn within(self, descriptor: &Descriptor, beat: &Beat) -> bool {
        let most = Self::declared(descriptor, beat).capability;
        most.and(self.capability) == self.capability
    }
}

/// Whether nodes of this age are used as hops.
pub fn mature_hop(params: &NetworkParams, age: u8) -> bool {
    u32::from(age) >= params.maturity
}

/// Whether nodes of this age hold mailboxes and witness.
pub fn mature_witness(params: &NetworkParams, age: u8) -> bool {
    u32::from(age) >= params.maturity.saturating_mul(WITNESS_FACTOR)
}

/// The epochs after genesis in which everyone counts as grown up: there has been no time to age.
pub fn in_genesis_window(params: &NetworkParams, epoch: u32) -> bool {
    epoch < params.maturity.saturating_mul(WITNESS_FACTOR)
}

/// What the rule of weights needs of one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// What descriptor and beat both say.
    pub declared: Capability,
    /// Its age in this epoch.
    pub age: u8,
    /// Its subnet tag; zero if it states none.
    pub subnet: u32,
}

/// What each node is granted. The order of `claims` is that of the leaves; it decides between equals in a full subnet.
///
/// Age: weight 0 until grown up as a hop, 1 until as a witness, then what is declared; holding only as a witness. Subnet: see
/// [`subnet_cap`]. A full subnet's weight goes round its nodes, the oldest first, one at a time.
pub fn grant(params: &NetworkParams, claims: &[Claim]) -> Vec<Standing> {
    let mut out: Vec<_> = claims.iter().map(|claim| aged(params, claim)).collect();
    if !params.subnet_rule {
        return out;
    }
    let mut subnets: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (i, claim) in claims.iter().enumerate() {
        if claim.subnet == 0 {
            // One that states no subnet is one by itself, and no larger than the smallest.
            out[i].capability = lowered(out[i].capability, 1);
        } else {
            subnets.entry(claim.subnet).or_default().push(i);
        }
    }
    let weight = |i: &usize| u64::from(out[*i].capability.weight());
    let sums: Vec<u64> = subnets
        .values()
        .map(|nodes| nodes.iter().map(weight).sum())
        .collect();
    let alone = claims.iter().enumerate().filter(|(_, c)| c.subnet == 0);
    let alone: u64 = alone.map(|(i, _)| weight(&i)).sum();
    let cap = subnet_cap(&sums, alone);
    for ((_, mut nodes), sum) in subnets.into_iter().zip(sums) {
        if sum > cap {
            nodes.sort_by_key(|i| (core::cmp::Reverse(claims[*i].age), *i));
            share(cap, &nodes, &mut out);
        }
    }
    out
}

/// The most weight of one subnet: the largest C with 16·C ≤ Σ min(weight of a subnet, C), and at least 8.
///
/// Whoever is above C adds nothing to the sum by growing, so a full subnet can't raise its own cap.
pub fn subnet_cap(subnets: &[u64], alone: u64) -> u64 {
    let total: u64 = subnets.iter().sum::<u64>() + alone;
    let (mut low, mut high) = (0, total / SUBNET_PART);
    while low < high {
        let cap = high - (high - low) / 2;
        // Those without a subnet weigh 1 each, which is below any cap that is tried.
        let sum: u64 = subnets.iter().map(|sum| (*sum).min(cap)).sum::<u64>() + alone;
        if SUBNET_PART * cap <= sum {
            low = cap;
        } else {
            high = cap - 1;
        }
    }
    low.max(SUBNET_FLOOR)
}

fn aged(params: &NetworkParams, claim: &Claim) -> Standing {
    let grown = mature_witness(params, claim.age);
    let most = match (mature_hop(params, claim.age), grown) {
        (_, true) => u8::MAX,
        (true, false) => 1,
        (false, false) => 0,
    };
    let capability = lowered(claim.declared, most);
    Standing {
        capability: if grown {
            capability
        } else {
            capability.without_holding()
        },
        age: claim.age,
    }
}

/// Deals `cap` out, one to each node that may have more, round after round.
fn share(cap: u64, nodes: &[usize], out: &mut [Standing]) {
    let most: Vec<u8> = nodes.iter().map(|i| out[*i].capability.weight()).collect();
    let mut given = vec![0u8; nodes.len()];
    let mut left = cap;
    for round in 1..=crate::descriptor::MAX_WEIGHT {
        for (most, given) in most.iter().zip(&mut given) {
            if *most >= round && left > 0 {
                *given = round;
                left -= 1;
            }
        }
    }
    for (i, given) in nodes.iter().zip(given) {
        out[*i].capability = lowered(out[*i].capability, given);
    }
}

fn lowered(capability: Capability, most: u8) -> Capability {
    Capability::new(capability.weight().min(most), capability.holder()).unwrap_or(capability)
}

#[cfg(test)]
mod tests;
