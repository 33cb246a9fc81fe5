//! Tests of the directory: one set, one root; proofs; placement; the topology it offers to routes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::testing::{TestNode, nodes, params, rng};
use mix::route::{self, Topology};
use proptest::prelude::*;

const EPOCH: u32 = 4;
const SEED: [u8; 32] = [5; 32];

fn build(nodes: &[TestNode]) -> Directory {
    Directory::build(
        &params(),
        EPOCH,
        SEED,
        nodes.iter().map(|node| node.records(EPOCH)),
    )
}

#[test]
fn what_does_not_belong_is_left_out() {
    let all = nodes(&params(), 4);
    let honest = build(&all[..2]);
    let (descriptor, beat) = all[0].records(EPOCH);
    let late = all[2].descriptor(epoch::end_of(&params(), EPOCH), 1);
    let records = vec![
        (descriptor.clone(), beat),
        all[1].records(EPOCH),
        // A beat of another epoch, of another node, and a descriptor that begins after the epoch.
        (all[2].records(EPOCH).0, all[2].beat(EPOCH + 1, 0)),
        (descriptor, all[3].beat(EPOCH, 0)),
        (late, all[2].beat(EPOCH, 0)),
    ];
    assert_eq!(
        Directory::build(&params(), EPOCH, SEED, records).root(),
        honest.root()
    );
}

#[test]
fn every_field_of_the_header_is_in_the_root() {
    let directory = build(&nodes(&params(), 3));
    let header = *directory.header();
    assert_eq!(Header::from_bytes(&header.to_bytes()), Some(header));
    assert_eq!(header.root(), directory.root());
    for at in 1..Header::LEN {
        let mut bytes = header.to_bytes();
        bytes[at] ^= 0x80;
        if let Some(other) = Header::from_bytes(&bytes) {
            assert_ne!(other.root(), header.root(), "byte {at}");
        }
    }
    assert!(directory.degraded());
}

#[test]
fn leaves_are_proved_against_the_header() {
    let directory = build(&nodes(&params(), 27));
    for i in 0..directory.len() {
        let proof = directory.prove(i, 1).unwrap();
        let leaf = merkle::leaf_hash(&directory.entry(i).unwrap().leaf().to_bytes());
        assert!(merkle::verify(
            &directory.header().tree,
            directory.len(),
            i,
            &[leaf],
            &proof
        ));
    }
    assert_eq!(directory.prove(27, 1), None);
}

#[test]
fn everyone_is_found_by_both_names() {
    let all = nodes(&params(), 10);
    let directory = build(&all);
    for node in &all {
        let entry = directory.by_short(&node.short()).unwrap();
        assert_eq!(entry.node(), node.id());
        assert_eq!(directory.by_node(&node.id()).unwrap().short(), node.short());
        assert_eq!(
            directory
                .entry(directory.position_of(&node.short()).unwrap())
                .unwrap()
                .node(),
            node.id()
        );
    }
    assert!(directory.by_short(&ShortId([0; 16])).is_none());
    assert!(directory.by_node(&NodeId([0; 32])).is_none());
}

#[test]
fn leaves_of_weight_zero_end_routes_but_do_not_mix_or_hold() {
    let mut all = nodes(&params(), 12);
    all[3].capability = Capability::LEAF;
    let directory = build(&all);
    let leaf = all[3].short();
    assert_eq!((directory.len(), directory.mixes()), (12, 11));
    assert_eq!(directory.total_weight(), 11);
    assert_eq!(directory.index_of(&leaf), None);
    assert_eq!(directory.hop_of(&leaf).unwrap().id, leaf);
    for i in 0..directory.mixes() {
        let mix = directory.mix(i);
        assert_eq!(directory.index_of(&mix.hop.id), Some(i));
        assert_eq!(mix.hop.epoch, EPOCH);
    }
    for id in 0..50 {
        assert!(!directory.holders(&[id; 32], 6).contains(&leaf));
    }
    let mut rng = rng(1);
    for _ in 0..50 {
        let path = route::draw(&directory, 3, &leaf, all[0].short(), 6, false, &mut rng).unwrap();
        assert_eq!(path.len(), 4);
        assert_eq!(path[3].id, leaf);
        assert!(
            path[..3]
                .iter()
                .all(|hop| hop.id != leaf && hop.id != all[0].short())
        );
    }
}

#[test]
fn placement_takes_the_nearest_and_moves_only_with_them() {
    let all = nodes(&params(), 60);
    let whole = build(&all);
    let without: Vec<_> = all
        .iter()
        .filter(|node| node.number != 17)
        .cloned()
        .collect();
    let less = build(&without);
    let gone = all[17].short();
    let mut moved = 0;
    for n in 0..200u8 {
        let id = [n; 32];
        let holders = whole.holders(&id, 6);
        assert_eq!(holders.len(), 6);
        // Nearest first, and nobody nearer is left out.
        let target = Position::of_box(&id);
        let mut by_distance: Vec<_> = whole
            .nodes()
            .map(|entry| (entry.position().distance(&target), entry.short()))
            .collect();
        by_distance.sort();
        assert_eq!(
            holders,
            by_distance
                .iter()
                .take(6)
                .map(|(_, short)| *short)
                .collect::<Vec<_>>()
        );
        // One node leaves: only its own place is filled.
        let mut expected: Vec<_> = by_distance
            .iter()
            .map(|(_, short)| *short)
            .filter(|short| *short != gone)
            .collect();
        expected.truncate(6);
        assert_eq!(less.holders(&id, 6), expected);
        moved += usize::from(holders.contains(&gone));
    }
    assert!(
        (5..60).contains(&moved),
        "a node holds its share: {moved} of 200 × 6 / 60"
    );
    assert_eq!(whole.holders(&[0; 32], 100).len(), 60);
    assert!(whole.holders(&[0; 32], 0).is_empty());
}

#[test]
fn placement_does_not_depend_on_the_epoch() {
    let all = nodes(&params(), 20);
    let later = Directory::build(
        &params(),
        9,
        [8; 32],
        all.iter().map(|node| node.records(9)),
    );
    assert_eq!(build(&all).holders(&[3; 32], 6), later.holders(&[3; 32], 6));
}

#[test]
fn an_empty_directory_is_no_special_case() {
    let directory = build(&[]);
    assert!(directory.is_empty());
    assert!(directory.holders(&[0; 32], 6).is_empty());
    assert_eq!(directory.mixes(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_root_does_not_depend_on_the_order(
        order in Just((0..20u32).collect::<Vec<_>>()).prop_shuffle(),
        twice in 0usize..20,
    ) {
        let all = nodes(&params(), 20);
        let mut shuffled: Vec<_> = order.iter().map(|i| all[*i as usize].records(EPOCH)).collect();
        let again = shuffled[twice].clone();
        shuffled.push(again);
        let directory = Directory::build(&params(), EPOCH, SEED, shuffled);
        prop_assert_eq!(directory.root(), build(&all).root());
        prop_assert_eq!(directory.len(), 20);
    }

    #[test]
    fn of_two_descriptors_the_newest_counts(swap in any::<bool>()) {
        let node = TestNode::new(&params(), 1);
        let start = epoch::start_of(&params(), EPOCH);
        let beat = node.beat(EPOCH, 0);
        let mut pairs = vec![(node.descriptor(start, 1), beat.clone()), (node.descriptor(start, 2), beat)];
        if swap { pairs.reverse(); }
        let directory = Directory::build(&params(), EPOCH, SEED, pairs);
        prop_assert_eq!(directory.entry(0).unwrap().descriptor().fields().seq, 2);
    }
}
