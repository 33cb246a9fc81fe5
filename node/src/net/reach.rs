//! Whether others can dial this node, and under which addresses: a pure state machine over what neighbours found out.
//!
//! Until two neighbours have failed and more have failed than succeeded, a node takes itself for reachable: a newcomer is not
//! a hop for some epochs anyway, and one liar must not make a leaf of it. An address that we do not listen on ourselves (a
//! forwarded port, a mapped machine) counts when two neighbours have reached us there. SPEC.md, "Network", 7.

use std::collections::VecDeque;

use dht::net::{Reach, reach_of};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// A node id.
type Id = [u8; 32];

/// The neighbours whose last answers count; of one neighbour only the last.
const ANSWERS: usize = 5;
/// So many must agree on bad news, and on an address that is not ours to see.
const AGREE: usize = 2;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// The oldest first: who, and where it reached us.
    answers: VecDeque<(Id, Option<Multiaddr>)>,
    behind_nat: bool,
}

impl Reached {
    /// A neighbour tried to dial us and got through there, or nowhere.
    pub(super) fn handle_probe(&mut self, server: Id, reached: Option<Multiaddr>) {
        self.answers.retain(|(known, _)| *known != server);
        if self.answers.len() == ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back((server, reached.map(bare)));
        let failed = self.answers.iter().filter(|(_, at)| at.is_none()).count();
        let succeeded = self.answers.len() - failed;
        if failed >= AGREE && failed > succeeded {
            self.behind_nat = true;
        } else if succeeded > failed {
            self.behind_nat = false;
        }
    }

    /// Nobody outside can dial this node.
    pub(super) fn is_behind_nat(&self) -> bool {
        self.behind_nat
    }

    /// An address that we do not listen on and that two neighbours have reached us under.
    pub(super) fn mapped(&self, listening: &[Multiaddr]) -> Option<Multiaddr> {
        let own: Vec<Multiaddr> = listening.iter().cloned().map(bare).collect();
        let reached = self.answers.iter().filter_map(|(_, at)| at.as_ref());
        let agreed = |one: &&Multiaddr| {
            let same = self
                .answers
                .iter()
                .filter(|(_, at)| at.as_ref() == Some(one));
            same.count() >= AGREE && !own.contains(one) && reach_of(one).is_some()
        };
        reached.rev().find(agreed).cloned()
    }

    /// What a descriptor should carry, without `/p2p`: of our addresses those that reach farthest. Who dials us from the
    /// internet has no use for our loopback, and the numbers of our building are nobody's business.
    pub(super) fn advertised(&self, listening: &[Multiaddr]) -> Vec<Multiaddr> {
        if self.behind_nat {
            return Vec::new();
        }
        let own = listening.iter().cloned().map(bare);
        let all: Vec<Multiaddr> = self.mapped(listening).into_iter().chain(own).collect();
        let farthest: Option<Reach> = all.iter().filter_map(reach_of).max();
        all.into_iter()
            .filter(|one| reach_of(one) == farthest)
            .collect()
    }
}

/// The address without its `/p2p/…` end.
fn bare(mut address: Multiaddr) -> Multiaddr {
    if let Some(Protocol::P2p(_)) = address.iter().last() {
        address.pop();
    }
    address
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn one_liar_changes_nothing_and_a_majority_does() {
        let listening = addresses(&["/ip4/192.168.1.4/tcp/7400"]);
        let mut reached = Reached::default();
        for _ in 0..10 {
            // One server, however often it says so.
            reached.handle_probe([1; 32], None);
        }
        assert!(!reached.is_behind_nat());
        assert_eq!(reached.advertised(&listening), listening);
        reached.handle_probe([2; 32], None);
        assert!(reached.is_behind_nat());
        assert_eq!(reached.advertised(&listening), []);
        // As many good answers as bad ones are no reason to believe in better times; one more is.
        let there = Some(listening[0].clone());
        reached.handle_probe([3; 32], there.clone());
        reached.handle_probe([4; 32], there.clone());
        assert!(reached.is_behind_nat());
        reached.handle_probe([1; 32], there);
        assert!(!reached.is_behind_nat());
        assert_eq!(reached.advertised(&listening), listening);
    }

    #[test]
    fn old_answers_are_forgotten_at_the_cap() {
        let mut reached = Reached::default();
        for server in 0..100 {
            reached.handle_probe([server; 32], None);
        }
        assert_eq!(reached.answers.len(), ANSWERS);
        for server in 100..103 {
            let at = "/ip4/203.0.113.9/tcp/7400".parse().unwrap();
            reached.handle_probe([server; 32], Some(at));
        }
        assert!(!reached.is_behind_nat());
    }

    #[test]
    fn a_mapped_address_needs_two_witnesses() {
        let listening = addresses(&["/ip4/127.0.0.1/tcp/7400", "/ip4/10.0.0.2/tcp/7400"]);
        let mapped = "/ip4/203.0.113.9/tcp/7400".parse::<Multiaddr>().unwrap();
        let mut reached = Reached::default();
        reached.handle_probe([1; 32], Some(mapped.clone()));
        reached.handle_probe([2; 32], Some("/ip4/198.51.100.1/tcp/1".parse().unwrap()));
        assert_eq!(reached.mapped(&listening), None);
        assert_eq!(reached.advertised(&listening), listening[1..]);
        reached.handle_probe([3; 32], Some(mapped.clone()));
        assert_eq!(reached.mapped(&listening), Some(mapped.clone()));
        assert_eq!(reached.advertised(&listening), [mapped]);
    }

    #[test]
    fn only_the_farthest_reach_is_told() {
        let reached = Reached::default();
        let loopback = addresses(&["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/2"]);
        assert_eq!(reached.advertised(&loopback), loopback);
        let mut all = loopback;
        all.extend(addresses(&["/ip4/192.168.1.4/tcp/3"]));
        assert_eq!(reached.advertised(&all), all[2..]);
        all.extend(addresses(&["/ip4/203.0.113.9/udp/4/quic-v1"]));
        assert_eq!(reached.advertised(&all), all[3..]);
    }
}
