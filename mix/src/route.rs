//! Drawing a path: distinct mixing hops and a final node, uniform among the permitted walks over any [`Topology`]. Knows no
//! records and no network; the `dht` crate's directory is one topology. SPEC.md §11.

use rand_core::Rng;
use thiserror::Error;

use crate::ShortId;
use crate::dice::below;
use crate::sphinx::Hop;

/// Whole walks drawn before the search becomes exhaustive.
const DRAWS: usize = 2_000;
/// Steps of the exhaustive search: it must end on a topology that somebody crafted, too.
const STEPS: usize = 200_000;

/// A node that may be a mixing hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MixRef {
    /// Name, key and epoch.
    pub hop: Hop,
    /// Tag of its subnet (/16, v6 /32); the topology decides what it means.
    pub subnet: u32,
    /// Effective weight, at least 1.
    pub weight: u8,
}

/// The nodes of one epoch and who may hand packets to whom.
pub trait Topology {
    /// How many nodes may be mixing hops (weight at least 1).
    fn mixes(&self) -> usize;
    /// The mixing node at `index`, below [`mixes`](Self::mixes).
    fn mix(&self, index: usize) -> MixRef;
    /// The index of a mixing node.
    fn index_of(&self, id: &ShortId) -> Option<usize>;
    /// The hop of any node with a key in this epoch, weight 0 included: replies need it.
    fn hop_of(&self, id: &ShortId) -> Option<Hop>;
    /// Whether `from` holds or may open a link to `to`.
    fn permits(&self, from: &ShortId, to: &ShortId) -> bool {
        let _ = (from, to);
        true
    }
}

/// Why there is no route. Never answered by a shorter one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RouteError {
    /// Fewer mixing nodes than the network asks for.
    #[error("too few mixes: {have} of {need}")]
    TooFewMixes {
        /// Mixing nodes besides ourselves.
        have: usize,
        /// What it takes.
        need: usize,
    },
    /// The final node has no key in this epoch.
    #[error("the final node is not in the directory")]
    UnknownFinal,
    /// Enough nodes, but no walk that the subnet rule and the links permit.
    #[error("no permitted route")]
    NoPermittedRoute,
}

/// Draws a path of `mixing_hops` hops and the node `last` at its end.
///
/// The hops are distinct, none is `own` or `last`, with `distinct_subnets` no two nodes of the path share a subnet, and every
/// step is one that the topology permits, the first from `own`. `last` may be `own` (loops, reply blocks). With fewer than
/// `min_live` mixing nodes besides ourselves there is no route.
pub fn draw(
    topology: &impl Topology,
    mixing_hops: usize,
    last: &ShortId,
    own: ShortId,
    min_live: usize,
    distinct_subnets: bool,
    rng: &mut impl Rng,
) -> Result<Vec<Hop>, RouteError> {
    let last_hop = topology.hop_of(last).ok_or(RouteError::UnknownFinal)?;
    let last_index = topology.index_of(last);
    let have = topology
        .mixes()
        .saturating_sub(usize::from(topology.index_of(&own).is_some()));
    let taken_by_last = usize::from(last_index.is_some() && *last != own);
    let need = min_live.max(mixing_hops + taken_by_last);
    if have < need {
        return Err(RouteError::TooFewMixes { have, need });
    }
    let last_subnet = last_index.map(|index| topology.mix(index).subnet);
    let rules = Rules {
        topology,
        mixing_hops,
        last: *last,
        last_subnet,
        own,
        distinct_subnets,
    };
    let walk = rules
        .draw_whole(rng)
        .or_else(|| rules.search(rng))
        .ok_or(RouteError::NoPermittedRoute)?;
    Ok(walk
        .into_iter()
        .map(|mix| mix.hop)
        .chain([last_hop])
        .collect())
}

struct Rules<'a, T> {
    topology: &'a T,
    mixing_hops: usize,
    last: ShortId,
    last_subnet: Option<u32>,
    own: ShortId,
    distinct_subnets: bool,
}

impl<T: Topology> Rules<'_, T> {
    /// Draws whole walks until one is permitted: uniform among the permitted ones, whatever the rules. Rejecting single hops
    /// instead would favour walks whose early hops leave few choices.
    fn draw_whole(&self, rng: &mut impl Rng) -> Option<Vec<MixRef>> {
        let mixes = self.topology.mixes();
        let mut walk = Vec::with_capacity(self.mixing_hops);
        for _ in 0..DRAWS {
            walk.clear();
            while walk.len() < self.mixing_hops {
                let next = self.topology.mix(below(mixes, rng));
                if !self.may_follow(&walk, &next) {
                    break;
                }
                walk.push(next);
            }
            if walk.len() == self.mixing_hops && self.may_end(&walk) {
                return Some(walk);
            }
        }
        None
    }

    /// Looks through all walks in random order: finds one where the permitted ones are too rare to be drawn. Those it finds
    /// are not exactly uniform.
    fn search(&self, rng: &mut impl Rng) -> Option<Vec<MixRef>> {
        let mut order: Vec<usize> = (0..self.topology.mixes()).collect();
        for end in (1..order.len()).rev() {
            order.swap(end, below(end + 1, rng));
        }
        let mut walk = Vec::with_capacity(self.mixing_hops);
        // For each hop, how far in `order` its candidates were tried.
        let mut tried = vec![0];
        for _ in 0..STEPS {
            if walk.len() == self.mixing_hops {
                if self.may_end(&walk) {
                    return Some(walk);
                }
            } else if let Some(next) = tried.last_mut()
                && let Some(&index) = order.get(*next)
            {
                *next += 1;
                let mix = self.topology.mix(index);
                if self.may_follow(&walk, &mix) {
                    walk.push(mix);
                    tried.push(0);
                }
                continue;
            }
            // A dead end: give up the latest hop.
            tried.pop();
            walk.pop();
            if tried.is_empty() {
                return None;
            }
        }
        None
    }

    fn may_follow(&self, walk: &[MixRef], next: &MixRef) -> bool {
        let id = next.hop.id;
        let from = walk.last().map_or(self.own, |mix| mix.hop.id);
        id != self.own
            && id != self.last
            && walk.iter().all(|mix| mix.hop.id != id)
            && !(self.distinct_subnets
                && (self.last_subnet == Some(next.subnet)
                    || walk.iter().any(|mix| mix.subnet == next.subnet)))
            && self.topology.permits(&from, &id)
    }

    fn may_end(&self, walk: &[MixRef]) -> bool {
        let from = walk.last().map_or(self.own, |mix| mix.hop.id);
        self.topology.permits(&from, &self.last)
    }
}

#[cfg(test)]
mod tests;
