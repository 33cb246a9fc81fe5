//! Tests of candidates, committee and quorum.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::{
    directory::Basis,
    network::NetworkParams,
    testing::{TestNode, nodes, params},
};
use mix::time::Span;
use proptest::prelude::*;

fn directory(nodes: &[TestNode]) -> Directory {
    let records = nodes.iter().map(|node| node.records(0));
    Directory::build_on(&params(), 0, [5; 32], records, &Basis::default())
}

fn candidates(count: u32) -> Candidates {
    Candidates::draw(&directory(&nodes(&params(), count)), 1)
}

#[test]
fn candidates_are_drawn_by_epoch_and_only_from_those_who_may() {
    let mut all = nodes(&params(), 30);
    all[3].capability = crate::descriptor::Capability::LEAF;
    let set = directory(&all);
    let next = Candidates::draw(&set, 1);
    assert_eq!(next, *set.next_candidates());
    assert_eq!(set.header().next_committee, next.hash());
    assert_eq!(next.len(), 29, "a phone doesn't witness");
    assert_eq!(next.by_short(&all[3].short()), None);
    let later = Candidates::draw(&set, 2);
    assert_ne!(later, next, "another epoch, another order");
    for node in all.iter().filter(|node| node.number != 3) {
        let candidate = next.by_short(&node.short()).unwrap();
        assert_eq!(candidate.node, node.id());
        assert_eq!(candidate.vrf_key, node.vrf().public().to_bytes());
    }
}

#[test]
fn an_unusable_vrf_key_keeps_a_node_from_witnessing_only() {
    let all = nodes(&params(), 5);
    let start = crate::epoch::start_of(&params(), 0);
    let records = all.iter().map(|node| {
        let mut fields = node.fields(start, 1);
        if node.number == 2 {
            fields.vrf_key = [0; 32];
        }
        let signed = crate::descriptor::Descriptor::sign(&node.network, &node.key, fields);
        (signed.unwrap(), node.beat(0, 0))
    });
    let set = Directory::build_on(&params(), 0, [5; 32], records, &Basis::default());
    assert_eq!((set.len(), set.next_candidates().len()), (5, 4));
}

#[test]
fn a_large_mesh_has_168_candidates_and_128_witnesses() {
    let list = candidates(200);
    assert_eq!(list.len(), MAX_CANDIDATES);
    let bytes = list.encode();
    assert_eq!(bytes.len(), MAX_CANDIDATES_LEN);
    let all = Committee::of(&list, |_| true);
    assert_eq!(all.members().len(), MAX_COMMITTEE);
    assert_eq!(all.quorum(), Some(86));
    let first: Vec<_> = list.iter().take(MAX_COMMITTEE).copied().collect();
    assert_eq!(all.members(), first);
    // Whoever is missing is followed by the next in line.
    let missing = first[0].short;
    let rest = Committee::of(&list, |short| *short != missing);
    assert_eq!(rest.members().len(), MAX_COMMITTEE);
    assert_eq!(rest.members()[127], *list.iter().nth(128).unwrap());
}

#[test]
fn a_claimed_committee_must_exist() {
    let list = candidates(30);
    let real = Committee::of(&list, |short| short.0[0] & 1 == 0);
    assert_eq!(Committee::new(&list, real.presence()), Some(real));
    let mut beyond = Presence::default();
    beyond.0[30 / 8] |= 1 << (30 % 8);
    assert_eq!(Committee::new(&list, beyond), None);
    let many = candidates(200);
    assert_eq!(
        Committee::new(&many, Presence([0xff; Presence::LEN])),
        None,
        "168 are more than 128"
    );
}

/// Two thirds of those there and half of those asked: neither a liar's claim that everybody else is absent nor a partition of
/// honest nodes makes two certificates.
#[test]
fn a_quorum_is_most_of_the_witnesses_and_of_the_candidates() {
    for asked in 0..=MAX_CANDIDATES {
        for there in 0..=asked.min(MAX_COMMITTEE) {
            let Some(quorum) = quorum(asked, there) else {
                assert!(there < MIN_COMMITTEE || 2 * there <= asked || there < asked / 2 + 1);
                continue;
            };
            assert!(3 * quorum > 2 * there && 2 * quorum > asked && quorum <= there);
        }
    }
    assert_eq!(quorum(3, 3), None, "three can't outvote one liar");
    assert_eq!(quorum(4, 4), Some(3));
    assert_eq!(quorum(168, 128), Some(86));
    assert_eq!(quorum(168, 84), None);
    assert_eq!(quorum(168, 85), Some(85));
    let sizes = (0..=MAX_CANDIDATES).flat_map(|n| (0..=MAX_COMMITTEE).map(move |c| (n, c)));
    let largest = sizes.filter_map(|(n, c)| quorum(n, c)).max();
    assert_eq!(largest, Some(crate::certificate::MAX_SIGNERS));
}

#[test]
fn everyone_proposes_once_in_an_order_of_the_seed() {
    let committee = Committee::of(&candidates(20), |_| true);
    let order = |seed| -> Vec<_> {
        let turns = (0..=255).map_while(|view| committee.proposer(&seed, view));
        turns.map(|turn| turn.short).collect()
    };
    let first = order([1; 32]);
    assert_eq!(first.len(), 20);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 20);
    assert_ne!(first, order([2; 32]));
}

#[test]
fn views_follow_each_other_after_settling() {
    let params = NetworkParams::testnet();
    let cutoff = crate::epoch::cutoff(&params, 9);
    let second = Span::from_secs(1);
    assert_eq!(view_at(&params, 9, cutoff), None);
    assert_eq!(view_at(&params, 9, cutoff + second.times(29)), None);
    assert_eq!(view_at(&params, 9, cutoff + second.times(30)), Some(0));
    assert_eq!(view_at(&params, 9, cutoff + second.times(69)), Some(1));
    assert_eq!(view_at(&params, 9, cutoff + second.times(6_000)), None);
    for view in 0..=255 {
        assert_eq!(
            view_at(&params, 9, view_start(&params, 9, view)),
            Some(view)
        );
    }
}

#[test]
fn candidates_are_handed_over_for_a_while() {
    assert!(!handed_over(5, 5) && handed_over(5, 6) && handed_over(5, 8) && !handed_over(5, 9));
}

#[test]
fn a_list_with_a_node_twice_or_an_unusable_key_is_refused() {
    let network = params().id();
    let bytes = candidates(4).encode();
    let mut twice = bytes.clone();
    twice.copy_within(2..66, 66);
    assert_eq!(
        Candidates::decode(&network, &twice),
        Err(DropReason::Malformed)
    );
    let mut key = bytes.clone();
    key[34..66].fill(0);
    assert_eq!(Candidates::decode(&network, &key), Err(DropReason::Key));
    let mut count = bytes.clone();
    count[1] = 169;
    assert_eq!(
        Candidates::decode(&network, &count),
        Err(DropReason::Malformed)
    );
    let mut version = bytes;
    version[0] = 2;
    assert_eq!(
        Candidates::decode(&network, &version),
        Err(DropReason::Version)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn candidates_round_trip_and_their_hash_binds_every_bit(count in 1u32..12, flip in any::<proptest::sample::Index>()) {
        let network = params().id();
        let list = candidates(count);
        let mut bytes = list.encode();
        prop_assert_eq!(Candidates::decode(&network, &bytes).unwrap(), list.clone());
        let bit = flip.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = Candidates::decode(&network, &bytes) {
            prop_assert_ne!(other.hash(), list.hash());
        }
    }

    #[test]
    fn garbage_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), presence in any::<[u8; 21]>()) {
        if let [version, count, rest @ ..] = &mut bytes[..] {
            *version = VERSION;
            *count = (rest.len() / 64) as u8;
        }
        let network = params().id();
        if let Ok(list) = Candidates::decode(&network, &bytes) {
            prop_assert_eq!(list.encode(), bytes);
        }
        if let Some(committee) = Committee::new(&candidates(20), Presence::from_bytes(presence)) {
            prop_assert_eq!(committee.presence().to_bytes(), presence);
        }
    }
}
