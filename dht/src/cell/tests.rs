//! Tests of cells: the ring is always tiled, splits follow the rule, a membership shows what it says and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::testing::{TestNode, nodes, params};
use proptest::prelude::*;
use std::sync::Arc;

const EPOCH: u32 = 4;

fn build(params: &Arc<NetworkParams>, nodes: &[TestNode]) -> Directory {
    let records = nodes.iter().map(|node| node.records(EPOCH));
    Directory::build(params, EPOCH, [5; 32], records)
}

fn limited(cell_limit: u32) -> Arc<NetworkParams> {
    Arc::new(NetworkParams {
        cell_limit,
        ..(*params()).clone()
    })
}

#[test]
fn halves_divide_a_cell() {
    let [low, high] = halves(Cell::WHOLE).unwrap();
    assert_eq!(
        (low, high),
        (Cell::new(1, 0).unwrap(), Cell::new(1, 0x8000).unwrap())
    );
    assert_eq!(halves(high).unwrap()[1], Cell::new(2, 0xc000).unwrap());
    let deepest = Cell::new(16, 0xabcd).unwrap();
    assert_eq!(halves(deepest), None);
    let above = Cell::new(15, 0xabcc).unwrap();
    assert_eq!(halves(above).unwrap()[1], deepest);
}

#[test]
fn a_cell_splits_above_its_limit_and_not_into_a_sliver() {
    let all = nodes(&params(), 60);
    let own = |limit: u32, keep: &dyn Fn(&TestNode) -> bool| {
        let params = limited(limit);
        let mine: Vec<_> = all
            .iter()
            .filter(|node| keep(node))
            .map(|node| TestNode::new(&params, node.number))
            .collect();
        build(&params, &mine)
    };
    assert_eq!(split(&own(60, &|_| true)), None, "at the limit");
    assert_eq!(split(&own(59, &|_| true)), halves(Cell::WHOLE));
    // A cell whose nodes crowd into one half stays whole, whatever its size.
    let params = limited(20);
    let low = halves(Cell::WHOLE).unwrap()[0];
    let kept = std::cell::Cell::new(0);
    let crowded = own(20, &|node| {
        let id = TestNode::new(&params, node.number).id();
        let inside = low.contains(&Position::of_node(&params.genesis_seed(), &id));
        kept.set(kept.get() + usize::from(!inside));
        inside || kept.get() <= 4
    });
    assert!(crowded.len() > 20);
    assert_eq!(split(&crowded), None);
}

#[test]
fn halves_begin_with_seeds_of_their_own() {
    let [low, high] = halves(Cell::WHOLE).unwrap();
    assert_ne!(split_seed(&[1; 32], low), split_seed(&[1; 32], high));
    assert_ne!(split_seed(&[1; 32], low), split_seed(&[2; 32], low));
}

#[test]
fn a_membership_shows_that_a_node_is_in_its_cell() {
    let (params, all) = (params(), nodes(&params(), 27));
    let directory = build(&params, &all);
    let (header, root) = (*directory.header(), directory.root());
    for node in &all {
        let proof = Membership::prove(&directory, &node.short()).unwrap();
        let bytes = proof.to_bytes();
        assert!(bytes.len() <= MAX_MEMBERSHIP_LEN);
        let member = Membership::from_bytes(&bytes)
            .unwrap()
            .verify(&params, &header, &root)
            .unwrap();
        assert_eq!(member.node, node.id());
        assert_eq!(
            member.leaf,
            directory.by_short(&node.short()).unwrap().leaf()
        );
    }
    assert_eq!(Membership::prove(&directory, &mix::ShortId([1; 16])), None);
}

#[test]
fn a_membership_is_refused_for_the_right_reason() {
    use MembershipError::*;
    let (params, all) = (params(), nodes(&params(), 27));
    let directory = build(&params, &all);
    let (header, root) = (*directory.header(), directory.root());
    let good = Membership::prove(&directory, &all[3].short()).unwrap();
    let with = |change: &dyn Fn(&mut Membership)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad.verify(&params, &header, &root)
    };
    assert!(with(&|_| ()).is_ok());
    assert_eq!(with(&|bad| bad.epoch += 1), Err(OtherDirectory));
    assert_eq!(with(&|bad| bad.node = all[4].id()), Err(OtherNode));
    assert_eq!(with(&|bad| bad.index += 1), Err(NotIncluded));
    assert_eq!(with(&|bad| bad.index = u32::MAX), Err(NotIncluded));
    assert_eq!(with(&|bad| bad.leaf.mix_key[0] ^= 1), Err(NotIncluded));
    assert_eq!(with(&|bad| bad.proof[0][0] ^= 1), Err(NotIncluded));
    assert_eq!(with(&|bad| bad.proof.push([0; 32])), Err(NotIncluded));
    assert_eq!(good.verify(&params, &header, &[0; 32]), Err(Uncertified));
    let altered = Header {
        count: 26,
        ..header
    };
    assert_eq!(good.verify(&params, &altered, &root), Err(Uncertified));
    assert_eq!(
        good.verify(&limited(7), &header, &root),
        Err(OtherDirectory)
    );
    // A committee that certifies a header of one half can't make nodes of the other half its own.
    let half = halves(Cell::WHOLE)
        .unwrap()
        .into_iter()
        .find(|half| !half.contains(directory.by_short(&all[3].short()).unwrap().position()))
        .unwrap();
    let foreign = Header {
        cell: half,
        ..header
    };
    let mut moved = good.clone();
    moved.cell = half;
    assert_eq!(
        moved.verify(&params, &foreign, &foreign.root()),
        Err(OutsideCell)
    );
}

proptest! {
    #[test]
    fn the_ring_is_tiled_after_any_splits(picks in prop::collection::vec(any::<prop::sample::Index>(), 0..60), at: [u8; 32]) {
        let mut partition = Partition::whole();
        for pick in picks {
            let cell = partition.cells()[pick.index(partition.cells().len())];
            let divisible = halves(cell).is_some();
            prop_assert_eq!(partition.split(cell), divisible);
        }
        let position = Position(at);
        let inside: Vec<_> = partition.cells().iter().filter(|cell| cell.contains(&position)).collect();
        let cell = partition.cell_of(&position);
        prop_assert_eq!(inside, vec![&cell]);
        let bytes = partition.to_bytes();
        prop_assert!(bytes.len() <= MAX_PARTITION_LEN);
        prop_assert_eq!(Partition::from_bytes(&bytes), Some(partition));
    }

    #[test]
    fn a_partition_read_is_one_that_would_be_written(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Some(partition) = Partition::from_bytes(&bytes) {
            prop_assert_eq!(partition.to_bytes(), bytes);
        }
    }

    #[test]
    fn cells_that_leave_a_gap_or_overlap_are_no_partition(missing in 0usize..4, twice in 0usize..4) {
        let quarters: Vec<_> = (0..4).map(|q| Cell::new(2, q << 14).unwrap()).collect();
        prop_assert!(Partition::new(quarters.clone()).is_some());
        let mut gap = quarters.clone();
        gap.remove(missing);
        prop_assert_eq!(Partition::new(gap), None);
        let mut overlap = quarters.clone();
        overlap.insert(twice, quarters[twice]);
        prop_assert_eq!(Partition::new(overlap), None);
        prop_assert_eq!(Partition::new(vec![]), None);
    }

    #[test]
    fn a_membership_read_is_one_that_would_be_written(flips in prop::collection::vec((0usize..300, any::<u8>()), 0..4), cut in 0usize..20) {
        let all = nodes(&params(), 5);
        let directory = build(&params(), &all);
        let mut bytes = Membership::prove(&directory, &all[0].short()).unwrap().to_bytes();
        for (at, mask) in flips {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= mask;
            }
        }
        bytes.truncate(bytes.len() - cut);
        if let Some(proof) = Membership::from_bytes(&bytes) {
            prop_assert_eq!(proof.to_bytes(), bytes);
        }
    }
}
