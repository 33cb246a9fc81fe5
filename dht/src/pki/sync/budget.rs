//! How many requests to reconcile are answered: so many of one peer, so many of all, and strangers can't use up what is there
//! for nodes we know.

use crate::{bucket::Bucket, id::NodeId};
use std::collections::BTreeMap;

/// Of one peer: two whole exchanges at once, then two requests a second.
const PEER: (u32, u32) = (2, 128);
/// Of all nodes we have a descriptor of. An answer takes about a millisecond of a set of 8,192.
const KNOWN: (u32, u32) = (64, 1_024);
/// Of all others: newcomers, and whoever makes identities.
const STRANGERS: (u32, u32) = (16, 256);

#[derive(Debug)]
pub(super) struct Budget {
    most: usize,
    peers: BTreeMap<NodeId, Bucket>,
    known: Option<Bucket>,
    strangers: Option<Bucket>,
}

impl Budget {
    /// At most `most` peers are told apart.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            peers: BTreeMap::new(),
            known: None,
            strangers: None,
        }
    }

    pub(super) fn allows(&mut self, now: u64, from: &NodeId, known: bool) -> bool {
        if self.peers.len() >= self.most && !self.peers.contains_key(from) {
            self.peers.retain(|_, bucket| !bucket.is_full(now));
            if self.peers.len() >= self.most {
                return false;
            }
        }
        let new = |(rate, burst)| Bucket::new(rate, burst, now);
        let (shared, size) = if known {
            (&mut self.known, KNOWN)
        } else {
            (&mut self.strangers, STRANGERS)
        };
        let peer = self.peers.entry(*from).or_insert_with(|| new(PEER));
        peer.take(now) && shared.get_or_insert_with(|| new(size)).take(now)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn node(n: u32) -> NodeId {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_le_bytes());
        NodeId(id)
    }

    #[test]
    fn one_peer_gets_two_exchanges_and_then_a_trickle() {
        let mut budget = Budget::new(10);
        let taken = (0..1_000)
            .filter(|_| budget.allows(5_000, &node(1), true))
            .count();
        assert_eq!(taken, 128);
        assert!(!budget.allows(5_400, &node(1), true));
        assert!(budget.allows(5_500, &node(1), true));
        assert!(budget.allows(5_500, &node(2), true));
    }

    #[test]
    fn strangers_leave_known_nodes_their_share() {
        let mut budget = Budget::new(10_000);
        let taken = (0..9_000)
            .filter(|n| budget.allows(5_000, &node(*n), false))
            .count();
        assert_eq!(taken, 256);
        assert!(budget.allows(5_000, &node(9_500), true));
    }

    #[test]
    fn the_peers_told_apart_are_bounded_and_make_room_in_time() {
        let mut budget = Budget::new(10);
        for n in 0..100 {
            assert_eq!(budget.allows(5_000, &node(n), true), n < 10);
            assert!(budget.peers.len() <= 10);
        }
        assert!(budget.allows(5_500, &node(50), true), "ten have rested");
    }
}
