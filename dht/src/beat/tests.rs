//! Tests of beats and leaves: exact sizes, strict signatures, usable keys only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::testing::{TestNode, params};
use crate::weights::Standing;
use proptest::prelude::*;

#[test]
fn a_beat_round_trips_and_verifies_under_its_signer_only() {
    let (node, other) = (TestNode::new(&params(), 1), TestNode::new(&params(), 2));
    let beat = node.beat(9, 0);
    let read = Beat::decode(beat.as_bytes()).unwrap();
    assert_eq!(read, beat);
    assert_eq!(read.fields(), beat.fields());
    assert_eq!(read.short_id(), node.short());
    assert_eq!(read.verify(&node.network, &node.id()), Ok(()));
    assert_eq!(
        read.verify(&node.network, &other.id()),
        Err(DropReason::Signature)
    );
    assert_eq!(
        read.verify(&NetworkId([9; 32]), &node.id()),
        Err(DropReason::Signature)
    );
    assert_eq!(Beat::peek(beat.as_bytes()), Some((9, node.short())));
}

#[test]
fn a_beat_signed_by_another_key_under_a_claimed_short_id_fails() {
    let (node, thief) = (TestNode::new(&params(), 1), TestNode::new(&params(), 2));
    let mut bytes = *thief.beat(9, 0).as_bytes();
    bytes[5..21].copy_from_slice(&node.short().0);
    let beat = Beat::decode(&bytes).unwrap();
    assert_eq!(
        beat.verify(&node.network, &node.id()),
        Err(DropReason::Signature)
    );
    assert_eq!(
        beat.verify(&node.network, &thief.id()),
        Err(DropReason::Signature)
    );
}

#[test]
fn the_identity_and_non_points_are_no_mix_keys() {
    let node = TestNode::new(&params(), 1);
    let fields = *node.beat(1, 0).fields();
    for mix_key in [[0; 32], [0xff; 32]] {
        let signed = Beat::sign(&node.network, &node.key, BeatFields { mix_key, ..fields });
        assert_eq!(signed.unwrap_err(), DropReason::Key);
        let mut bytes = *node.beat(1, 0).as_bytes();
        bytes[21..53].copy_from_slice(&mix_key);
        assert_eq!(Beat::decode(&bytes).unwrap_err(), DropReason::Key);
    }
}

#[test]
fn reserved_bits_and_wrong_lengths_are_refused() {
    let bytes = *TestNode::new(&params(), 1).beat(1, 0).as_bytes();
    for (at, value) in [(53, 0x20), (53, 0x09), (55, 1)] {
        let mut wrong = bytes;
        wrong[at] = value;
        assert_eq!(Beat::decode(&wrong).unwrap_err(), DropReason::Malformed);
    }
    assert_eq!(
        Beat::decode(&bytes[1..]).unwrap_err(),
        DropReason::Malformed
    );
    let mut newer = bytes;
    newer[0] = 2;
    assert_eq!(Beat::decode(&newer).unwrap_err(), DropReason::Version);
}

#[test]
fn a_leaf_takes_the_lower_of_two_capabilities() {
    let mut node = TestNode::new(&params(), 1);
    let beat = node.beat(1, 0);
    node.capability = Capability::STRONG;
    let descriptor = node.descriptor(mix::time::Moment::from_millis(1), 1);
    let leaf = Leaf::of(&descriptor, &beat, Standing::declared(&descriptor, &beat));
    assert_eq!(leaf.standing.capability, Capability::FULL);
    let bytes = leaf.to_bytes();
    assert_eq!((bytes[48], bytes[49]), (1, 1 | 15 << 1));
    assert_eq!(Leaf::from_bytes(&bytes), Some(leaf));
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), BEAT_LEN), leaf in any::<[u8; 32]>()) {
        let mut bytes = bytes;
        bytes[0] = 1;
        bytes[53] &= 0x11;
        bytes[55] = 0;
        if let Ok(beat) = Beat::decode(&bytes) {
            prop_assert_eq!(&beat.as_bytes()[..], &bytes[..]);
        }
        let mut raw = [0; LEAF_LEN];
        raw[..32].copy_from_slice(&leaf);
        raw[48..80].copy_from_slice(&leaf);
        if let Some(leaf) = Leaf::from_bytes(&raw) {
            prop_assert_eq!(leaf.to_bytes(), raw);
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed(at in 0usize..BEAT_LEN, bit in 0u8..8) {
        let node = TestNode::new(&params(), 3);
        let mut bytes = *node.beat(4, 0).as_bytes();
        bytes[at] ^= 1 << bit;
        if let Ok(beat) = Beat::decode(&bytes) {
            prop_assert_eq!(beat.verify(&node.network, &node.id()), Err(DropReason::Signature));
        }
    }
}
