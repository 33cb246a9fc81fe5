//! Drawing a path: distinct mixing hops and a final node, uniform among the permitted walks over any [`Topology`]. Knows no
//! records and no network; the `dht` crate's flock is one topology. SPEC.md §11.

use rand_core::Rng;
use thiserror::Error;

use crate::ShortId;
use crate::sphinx::Hop;

mod sampler;
mod search;

use sampler::Sampler;

/// Walks drawn and thrown away before all of them are listed instead.
const DRAWS: usize = 200_000;

/// A node that may be a mixing hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MixRef {
    /// Name, key and epoch.
    pub hop: Hop,
    /// Tag of its subnet (/16, v6 /32), compared and nothing else. `None`: it shares its subnet with nobody.
    pub subnet: Option<u32>,
    /// Effective weight, at least 1.
    pub weight: u8,
}

/// The nodes of one epoch and who may hand packets to whom. Mixing nodes are named by their index below
/// [`mixes`](Self::mixes); lists of them hold no index twice.
pub trait Topology {
    /// How many nodes may be mixing hops (weight at least 1).
    fn mixes(&self) -> usize;
    /// The mixing node at `index`, below [`mixes`](Self::mixes).
    fn mix(&self, index: usize) -> MixRef;
    /// The index of a mixing node.
    fn index_of(&self, id: &ShortId) -> Option<usize>;
    /// The hop of any node with a key in this epoch, weight 0 included: replies need it.
    fn hop_of(&self, id: &ShortId) -> Option<Hop>;

    /// The subnet of any node with a key in this epoch.
    fn subnet_of(&self, id: &ShortId) -> Option<u32> {
        self.index_of(id).and_then(|index| self.mix(index).subnet)
    }

    /// Whether [`next_hops`](Self::next_hops) may say anything but `None`.
    fn is_sparse(&self) -> bool {
        false
    }
    /// The mixing nodes to which `from`, any node, may hand a packet that starts there; `None`: all.
    fn first_hops(&self, from: &ShortId) -> Option<Vec<u32>> {
        let _ = from;
        None
    }
    /// The mixing nodes to which the mixing node `index` may hand a packet; `None`: all.
    fn next_hops(&self, index: usize) -> Option<&[u32]> {
        let _ = index;
        None
    }
    /// The mixing nodes that may hand a packet to `last`, any node, where it ends; `None`: all.
    fn last_hops(&self, last: &ShortId) -> Option<Vec<u32>> {
        let _ = last;
        None
    }
    /// Whether this mixing node may stand between two others. One that may not is the first or the last of a path.
    fn is_inner(&self, index: usize) -> bool {
        let _ = index;
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
    /// Enough nodes, but no walk that the subnet rule and the links permit, or so few among so many that their law could not be
    /// kept.
    #[error("no permitted route")]
    NoPermittedRoute,
}

/// Draws a path of `mixing_hops` hops and the node `last` at its end.
///
/// The hops are distinct, none is `own` or `last`, with `distinct_subnets` no two nodes of the path share a subnet, and every
/// step is one that the topology permits, the first from `own`. `last` may be `own` (loops, reply blocks). With fewer than
/// `min_live` mixing nodes besides ourselves there is no route.
///
/// # Errors
/// [`RouteError`]; a route that there is comes with the same probability as every other one, or not at all.
pub fn draw(
    topology: &impl Topology,
    mixing_hops: usize,
    last: &ShortId,
    own: ShortId,
    min_live: usize,
    distinct_subnets: bool,
    rng: &mut impl Rng,
) -> Result<Vec<Hop>, RouteError> {
    Router::new(topology, mixing_hops, last, own, min_live, distinct_subnets)?.draw(rng)
}

/// All routes from one node to another, ready to be drawn from: counting walks once serves many draws.
#[derive(Debug)]
pub struct Router<'a, T> {
    rules: Rules<'a, T>,
    last: Hop,
    sampler: Sampler,
}

impl<'a, T: Topology> Router<'a, T> {
    /// Prepares what [`draw`] draws from; the arguments are the same.
    ///
    /// # Errors
    /// [`RouteError`].
    pub fn new(
        topology: &'a T,
        mixing_hops: usize,
        last: &ShortId,
        own: ShortId,
        min_live: usize,
        distinct_subnets: bool,
    ) -> Result<Self, RouteError> {
        let last_hop = topology.hop_of(last).ok_or(RouteError::UnknownFinal)?;
        let (own_index, last_index) = (topology.index_of(&own), topology.index_of(last));
        let have = topology
            .mixes()
            .saturating_sub(usize::from(own_index.is_some()));
        let taken_by_last = usize::from(last_index.is_some() && *last != own);
        let need = min_live.max(mixing_hops + taken_by_last);
        if have < need {
            return Err(RouteError::TooFewMixes { have, need });
        }
        let ends = Ends {
            first: topology.first_hops(&own),
            last: topology.last_hops(last),
        };
        let rules = Rules {
            topology,
            mixing_hops,
            ends: [own_index, last_index],
            last_subnet: topology.subnet_of(last),
            distinct_subnets,
        };
        let sampler = Sampler::new(&rules, ends).ok_or(RouteError::NoPermittedRoute)?;
        Ok(Self {
            rules,
            last: last_hop,
            sampler,
        })
    }

    /// Draws one of them.
    ///
    /// # Errors
    /// [`RouteError::NoPermittedRoute`].
    pub fn draw(&self, rng: &mut impl Rng) -> Result<Vec<Hop>, RouteError> {
        let mut walk = Vec::with_capacity(self.rules.mixing_hops);
        // Whole walks are rejected, never single hops: that would favour walks whose early hops leave few choices.
        let drawn = (0..DRAWS).any(|_| {
            self.sampler.draw(&self.rules, rng, &mut walk);
            self.rules.permits(&walk)
        });
        if !drawn {
            // Hardly any walk keeps the rules: they are few enough to be listed, or there is none to be had.
            walk = search::pick(&self.rules, &self.sampler, rng)
                .ok_or(RouteError::NoPermittedRoute)?;
        }
        let hops = walk
            .iter()
            .map(|index| self.rules.topology.mix(*index as usize).hop);
        Ok(hops.chain([self.last]).collect())
    }
}

/// Which mixing nodes may begin and end a path; `None`: all.
#[derive(Debug)]
struct Ends {
    first: Option<Vec<u32>>,
    last: Option<Vec<u32>>,
}

/// What makes a walk a permitted one, apart from its links.
#[derive(Debug)]
struct Rules<'a, T> {
    topology: &'a T,
    mixing_hops: usize,
    /// Indices of sender and final node, if they mix: no hop of this path.
    ends: [Option<usize>; 2],
    last_subnet: Option<u32>,
    distinct_subnets: bool,
}

impl<T: Topology> Rules<'_, T> {
    /// Whether a node may be a hop at all.
    fn takes(&self, index: usize) -> bool {
        !self.ends.contains(&Some(index))
    }

    /// Whether a walk along permitted links keeps the other rules.
    fn permits(&self, walk: &[u32]) -> bool {
        walk.len() == self.mixing_hops
            && (0..walk.len()).all(|at| self.may_follow(&walk[..at], walk[at]))
    }

    /// Whether a node may come after these: another one, and in a subnet of its own.
    fn may_follow(&self, walk: &[u32], next: u32) -> bool {
        let index = next as usize;
        let inner = !walk.is_empty() && walk.len() + 1 < self.mixing_hops;
        if !self.takes(index) || walk.contains(&next) || (inner && !self.topology.is_inner(index)) {
            return false;
        }
        let subnet = self.topology.mix(index).subnet;
        let shared = |other: Option<u32>| subnet.is_some() && subnet == other;
        !(self.distinct_subnets
            && (shared(self.last_subnet)
                || walk
                    .iter()
                    .any(|hop| shared(self.topology.mix(*hop as usize).subnet))))
    }
}

#[cfg(test)]
mod tests;
