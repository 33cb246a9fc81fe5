//! All permitted walks one by one, for the mesh where hardly any walk is permitted: one of them is picked uniformly as they come.

use rand_core::Rng;

use super::sampler::Sampler;
use super::{Rules, Topology};
use crate::dice::below;

/// Candidates looked at before the search is given up: it must end on a topology that somebody crafted, too.
const STEPS: usize = 2_000_000;

/// One of all permitted walks. `None` if there is none, or if they could not all be looked at: the first ones found would not be
/// a fair choice.
pub(super) fn pick<T: Topology>(
    rules: &Rules<'_, T>,
    sampler: &Sampler,
    rng: &mut impl Rng,
) -> Option<Vec<u32>> {
    let mut search = Search {
        rules,
        sampler,
        steps: 0,
        found: 0,
        picked: None,
    };
    search.extend(&mut Vec::with_capacity(rules.mixing_hops), rng);
    search.picked.filter(|_| search.steps <= STEPS)
}

struct Search<'a, T> {
    rules: &'a Rules<'a, T>,
    sampler: &'a Sampler,
    steps: usize,
    found: usize,
    picked: Option<Vec<u32>>,
}

impl<T: Topology> Search<'_, T> {
    /// As deep as a path is long.
    fn extend(&mut self, walk: &mut Vec<u32>, rng: &mut impl Rng) {
        if walk.len() == self.rules.mixing_hops {
            self.found += 1;
            // The n-th walk takes the place of the one picked so far with probability 1/n.
            if below(self.found, rng) == 0 {
                self.picked = Some(walk.clone());
            }
            return;
        }
        let (mut next, mut steps) = (Vec::new(), self.steps);
        self.sampler.each_next(self.rules, walk, |index| {
            steps += 1;
            if self.rules.may_follow(walk, index) {
                next.push(index);
            }
            steps <= STEPS
        });
        self.steps = steps;
        for index in next {
            if self.steps > STEPS {
                return;
            }
            walk.push(index);
            self.extend(walk, rng);
            walk.pop();
        }
    }
}
