//! Drawing among all walks along permitted links, each as likely as every other, whether or not it visits a node twice.
//!
//! Where every mixing node may hand to every other one, the hops of a walk are drawn independently. Where links are few, the
//! walks that lead on from each node are counted from the end backwards, and each step is drawn in proportion to what it leaves
//! open: then no walk is favoured for passing through a node with few links.

use rand_core::Rng;

use super::{Ends, Rules, Topology};
use crate::dice::{below, below_u64};

/// See the module's text.
#[derive(Debug)]
pub(super) enum Sampler {
    /// Every mixing node links to all: candidates for the first hop and the last; `None`: all.
    Full(Ends),
    /// Candidates for the first hop, and for each hop the number of walks that lead on from each node to the end.
    Counted {
        first: Vec<u32>,
        onward: Vec<Vec<u64>>,
    },
}

impl Sampler {
    /// `None` if there is no walk at all.
    pub(super) fn new<T: Topology>(rules: &Rules<'_, T>, ends: Ends) -> Option<Self> {
        if rules.mixing_hops > 1 && !rules.topology.is_sparse() {
            let empty = |list: &Option<Vec<u32>>| list.as_ref().is_some_and(Vec::is_empty);
            return (!empty(&ends.first) && !empty(&ends.last)).then_some(Self::Full(ends));
        }
        let first = candidates(rules, ends.first);
        let mut onward = vec![vec![0; rules.topology.mixes()]];
        for index in candidates(rules, ends.last) {
            onward[0][index as usize] = 1;
        }
        for at in 1..rules.mixing_hops {
            let level = lead_on(
                rules,
                &onward[at - 1],
                (at + 1 == rules.mixing_hops).then_some(&first),
            );
            onward.push(level);
        }
        onward.reverse();
        let any = first.iter().any(|index| onward[0][*index as usize] > 0);
        any.then_some(Self::Counted { first, onward })
    }

    /// Draws a walk.
    pub(super) fn draw<T: Topology>(
        &self,
        rules: &Rules<'_, T>,
        rng: &mut impl Rng,
        walk: &mut Vec<u32>,
    ) {
        walk.clear();
        for at in 0..rules.mixing_hops {
            let next = match self {
                Self::Full(ends) => {
                    let list = if at == 0 {
                        ends.first.as_deref()
                    } else if at + 1 == rules.mixing_hops {
                        ends.last.as_deref()
                    } else {
                        None
                    };
                    match list {
                        Some(list) => list.get(below(list.len(), rng)).copied(),
                        None => Some(below(rules.topology.mixes(), rng) as u32),
                    }
                }
                Self::Counted { first, onward } => {
                    let list = match walk.last() {
                        None => Some(first.as_slice()),
                        Some(from) => rules.topology.next_hops(*from as usize),
                    };
                    pick(list, &onward[at], rng)
                }
            };
            // There is always one: a node is only drawn if a walk leads on from it.
            walk.extend(next);
        }
    }

    /// Calls `visit` with every node that may come after these along permitted links and from which the end can be reached.
    pub(super) fn each_next<T: Topology>(
        &self,
        rules: &Rules<'_, T>,
        walk: &[u32],
        mut visit: impl FnMut(u32) -> bool,
    ) {
        let all = 0..rules.topology.mixes() as u32;
        let mut each = |list: Option<&[u32]>, fits: &dyn Fn(u32) -> bool| match list {
            Some(list) => list.iter().copied().filter(|i| fits(*i)).all(&mut visit),
            None => all.clone().filter(|i| fits(*i)).all(&mut visit),
        };
        match self {
            Self::Full(ends) => {
                let list = if walk.is_empty() {
                    ends.first.as_deref()
                } else if walk.len() + 1 == rules.mixing_hops {
                    ends.last.as_deref()
                } else {
                    None
                };
                each(list, &|_| true);
            }
            Self::Counted { first, onward } => {
                let list = match walk.last() {
                    None => Some(first.as_slice()),
                    Some(from) => rules.topology.next_hops(*from as usize),
                };
                each(list, &|i| onward[walk.len()][i as usize] > 0);
            }
        }
    }
}

/// For each node of `only` (or for all), how many walks lead on through its links, given how many lead on from where they end.
fn lead_on<T: Topology>(rules: &Rules<'_, T>, after: &[u64], only: Option<&Vec<u32>>) -> Vec<u64> {
    let total = sum(after.iter().copied());
    let mut level = vec![0; after.len()];
    let mut count = |index: usize| {
        if rules.takes(index) {
            level[index] = match rules.topology.next_hops(index) {
                Some(list) => sum(list.iter().map(|to| after[*to as usize])),
                None => total,
            };
        }
    };
    match only {
        Some(only) => only.iter().for_each(|index| count(*index as usize)),
        None => (0..after.len()).for_each(count),
    }
    level
}

/// Never saturates where it matters: four hops among the 8,192 nodes of a cell are at most 2^52 walks.
fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

/// The nodes of a list that may be hops here.
fn candidates<T: Topology>(rules: &Rules<'_, T>, list: Option<Vec<u32>>) -> Vec<u32> {
    let mixes = rules.topology.mixes();
    let mut list = list.unwrap_or_else(|| (0..mixes as u32).collect());
    list.retain(|index| (*index as usize) < mixes && rules.takes(*index as usize));
    list
}

/// A node of the list (or of all) with a probability in proportion to its count.
fn pick(list: Option<&[u32]>, counts: &[u64], rng: &mut impl Rng) -> Option<u32> {
    match list {
        Some(list) => choose(list.iter().copied(), counts, rng),
        None => choose(0..counts.len() as u32, counts, rng),
    }
}

fn choose(
    mut nodes: impl Iterator<Item = u32> + Clone,
    counts: &[u64],
    rng: &mut impl Rng,
) -> Option<u32> {
    let count = |index: u32| counts[index as usize];
    let mut left = below_u64(sum(nodes.clone().map(count)), rng);
    nodes.find(|index| {
        let here = left < count(*index);
        left = left.saturating_sub(count(*index));
        here
    })
}
