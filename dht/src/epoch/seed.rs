//! The chain of seeds: what orders leaves, draws flocks and chooses witnesses, epoch after epoch. SPEC.md §3.

use super::union_seed;
use crate::id::derive;

/// The last seed that a certificate made, and from it the seeds of the epochs after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seeds {
    committed: [u8; 32],
    /// The epoch it is the seed of; `None` for the genesis seed, which is nobody's.
    epoch: Option<u32>,
}

impl Seeds {
    /// Before any certificate.
    pub fn genesis(genesis_seed: [u8; 32]) -> Self {
        Self {
            committed: genesis_seed,
            epoch: None,
        }
    }

    /// Goes on from what [`committed`](Self::committed) said.
    pub fn resume((committed, epoch): ([u8; 32], Option<u32>)) -> Self {
        Self { committed, epoch }
    }

    /// The last committed seed and its epoch: all there is to keep.
    pub fn committed(&self) -> ([u8; 32], Option<u32>) {
        (self.committed, self.epoch)
    }

    /// The seed of epoch `e`, if nothing is committed in between; `None` for epochs before the last committed seed.
    pub fn at(&self, e: u32) -> Option<[u8; 32]> {
        match self.epoch {
            Some(epoch) if e < epoch => None,
            Some(epoch) if e == epoch => Some(self.committed),
            _ => Some(union_seed(&self.committed, e)),
        }
    }

    /// Header e−1, of seed `previous`, is certified and commits certificate e−2, whose lowest VRF output makes `mix`: the seed of
    /// `e` is committed. Does nothing if a later one is.
    pub fn commit(&mut self, e: u32, previous: &[u8; 32], mix: &[u8; 32]) {
        if self.epoch.is_none_or(|epoch| epoch < e) {
            self.committed = derive("murmuration/v1/seed", &[previous, mix]);
            self.epoch = Some(e);
        }
    }

    /// Header `e`, of this seed, is certified: the seeds after it start from it, unless a later one is committed. So whoever
    /// holds the last certified header knows them, however it came by it.
    pub fn rest_on(&mut self, e: u32, seed: &[u8; 32]) {
        if self.epoch.is_none_or(|epoch| epoch < e) {
            self.committed = *seed;
            self.epoch = Some(e);
        }
    }

    /// The epoch of the last committed seed.
    pub fn committed_epoch(&self) -> Option<u32> {
        self.epoch
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn without_certificates_the_chain_is_the_one_of_union_mode() {
        let seeds = Seeds::genesis([1; 32]);
        assert_eq!(seeds.at(0), Some(union_seed(&[1; 32], 0)));
        assert_eq!(seeds.at(900), Some(union_seed(&[1; 32], 900)));
        assert_eq!(seeds.committed_epoch(), None);
    }

    #[test]
    fn old_nodes_and_newcomers_go_on_from_the_last_certified_header() {
        let mut old = Seeds::genesis([1; 32]);
        let third = old.at(3).unwrap();
        old.rest_on(3, &third);
        let mut new = Seeds::genesis([0; 32]);
        new.rest_on(3, &third);
        assert_eq!((old.at(4), old.at(9)), (new.at(4), new.at(9)));
        old.commit(6, &[2; 32], &[3; 32]);
        let sixth = old.at(6);
        old.rest_on(5, &[9; 32]);
        assert_eq!(old.at(6), sixth, "the past changes nothing");
    }

    #[test]
    fn a_commitment_takes_over_and_gaps_start_from_it() {
        let mut seeds = Seeds::genesis([1; 32]);
        let fifth = seeds.at(5).unwrap();
        seeds.commit(6, &fifth, &[7; 32]);
        let sixth = seeds.at(6).unwrap();
        assert_eq!(sixth, derive("murmuration/v1/seed", &[&fifth, &[7; 32]]));
        assert_eq!(seeds.at(5), None, "it is over");
        assert_eq!(seeds.at(8), Some(union_seed(&sixth, 8)));
        seeds.commit(4, &[0; 32], &[0; 32]);
        assert_eq!(seeds.at(6), Some(sixth), "the past changes nothing");
        assert_eq!(seeds.committed_epoch(), Some(6));
    }
}
