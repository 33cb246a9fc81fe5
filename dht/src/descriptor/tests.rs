//! Tests of descriptors: one encoding, strict signatures, limits on every length.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::{
    epoch,
    testing::{TestNode, params},
};
use proptest::prelude::*;

fn node() -> TestNode {
    TestNode::new(&params(), 7)
}

fn now() -> Moment {
    epoch::start_of(&params(), 3)
}

#[test]
fn the_largest_descriptor_fits() {
    let node = node();
    let fields = DescriptorFields {
        admission: vec![1; MAX_ADMISSION_LEN],
        addresses: vec![vec![1; 24]; 4],
        ..node.fields(now(), u64::MAX)
    };
    let descriptor = Descriptor::sign(&node.network, &node.key, fields).unwrap();
    assert!(descriptor.as_bytes().len() <= MAX_DESCRIPTOR_LEN);
    assert_eq!(
        Descriptor::decode(descriptor.as_bytes()).unwrap(),
        descriptor
    );
}

#[test]
fn limits_are_the_callers_mistake_when_signing() {
    let node = node();
    let base = node.fields(now(), 1);
    let cases = [
        (
            DescriptorFields {
                addresses: vec![vec![1; 97]],
                ..base.clone()
            },
            DescriptorError::Addresses,
        ),
        (
            DescriptorFields {
                addresses: vec![vec![1]; 5],
                ..base.clone()
            },
            DescriptorError::Addresses,
        ),
        (
            DescriptorFields {
                addresses: vec![vec![]],
                ..base.clone()
            },
            DescriptorError::Addresses,
        ),
        (
            DescriptorFields {
                admission: vec![0; 49],
                ..base.clone()
            },
            DescriptorError::Admission,
        ),
        (
            DescriptorFields {
                valid_until: base.valid_from,
                ..base.clone()
            },
            DescriptorError::Validity,
        ),
        (
            DescriptorFields {
                valid_until: u64::MAX,
                ..base.clone()
            },
            DescriptorError::Validity,
        ),
    ];
    for (fields, error) in cases {
        assert_eq!(
            Descriptor::sign(&node.network, &node.key, fields),
            Err(error)
        );
    }
}

#[test]
fn a_signature_holds_for_one_network_and_one_id() {
    let node = node();
    let descriptor = node.descriptor(now(), 1);
    assert_eq!(descriptor.verify(&node.network), Ok(()));
    assert_eq!(
        descriptor.verify(&NetworkId([0; 32])),
        Err(DropReason::Signature)
    );
    // Somebody else's id over the same signature.
    let mut bytes = descriptor.as_bytes().to_vec();
    bytes[1..33].copy_from_slice(&TestNode::new(&params(), 8).id().0);
    assert_eq!(
        Descriptor::decode(&bytes).unwrap().verify(&node.network),
        Err(DropReason::Signature)
    );
}

#[test]
fn weak_keys_are_refused_though_their_signature_verifies_loosely() {
    // The identity point as key, R = identity, s = 0: passes a cofactored, non-strict check for any message.
    let node = node();
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut bytes = NodeId(identity).0.to_vec();
    let fields = node.fields(now(), 1);
    bytes = [
        fields.body(&NodeId(bytes.try_into().unwrap())),
        identity.to_vec(),
        vec![0; 32],
    ]
    .concat();
    let descriptor = Descriptor::decode(&bytes).unwrap();
    assert_eq!(descriptor.verify(&node.network), Err(DropReason::Signature));
}

#[test]
fn the_hash_leaves_out_the_signature() {
    let node = node();
    let descriptor = node.descriptor(now(), 1);
    let mut bytes = descriptor.as_bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let other = Descriptor::decode(&bytes).unwrap();
    assert_eq!(other.hash(), descriptor.hash());
    assert_ne!(node.descriptor(now(), 2).hash(), descriptor.hash());
}

#[test]
fn lengths_are_capped_before_anything_is_read() {
    let node = node();
    let bytes = node.descriptor(now(), 1).as_bytes().to_vec();
    assert_eq!(
        Descriptor::decode(&[bytes.as_slice(), &[0]].concat()),
        Err(DropReason::Malformed)
    );
    assert_eq!(
        Descriptor::decode(&[0xff; 4_000]),
        Err(DropReason::Malformed)
    );
    assert_eq!(Descriptor::decode(&[2]), Err(DropReason::Version));
    assert_eq!(Descriptor::decode(&[]), Err(DropReason::Malformed));
    for len in 0..bytes.len() {
        assert!(Descriptor::decode(&bytes[..len]).is_err());
    }
}

#[test]
fn a_beat_never_raises_what_the_descriptor_declares() {
    let strong_leaf = Capability::new(8, false).unwrap();
    assert_eq!(
        Capability::FULL.and(strong_leaf),
        Capability::new(1, false).unwrap()
    );
    assert_eq!(Capability::new(9, true), None);
    for byte in 0..=255 {
        assert!(Capability::from_byte(byte).is_none_or(|capability| capability.to_byte() == byte));
    }
}

proptest! {
    #[test]
    fn fields_round_trip(
        seq in any::<u64>(), from in 0..u64::MAX / 2, life in 1..=MAX_VALIDITY_MS, weight in 0..=8u8, holder in any::<bool>(),
        subnet in any::<u32>(), vrf_key in any::<[u8; 32]>(),
        admission in proptest::collection::vec(any::<u8>(), 0..=48),
        addresses in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..=24), 0..=4),
    ) {
        let node = node();
        let capability = Capability::new(weight, holder).unwrap();
        let fields = DescriptorFields {
            seq, valid_from: from, valid_until: from + life, capability, subnet, vrf_key, admission, addresses,
        };
        let descriptor = Descriptor::sign(&node.network, &node.key, fields.clone()).unwrap();
        let read = Descriptor::decode(descriptor.as_bytes()).unwrap();
        prop_assert_eq!(read.fields(), &fields);
        prop_assert_eq!(read.verify(&node.network), Ok(()));
    }

    #[test]
    fn garbage_never_panics_and_what_parses_is_canonical(mut bytes in proptest::collection::vec(any::<u8>(), 0..340)) {
        if let Some(first) = bytes.first_mut() { *first = VERSION; }
        if let Ok(descriptor) = Descriptor::decode(&bytes) {
            prop_assert_eq!(&descriptor.fields().body(&descriptor.id())[..], descriptor.body());
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed(at in 0usize..400, bit in 0u8..8) {
        let node = node();
        let mut bytes = node.descriptor(now(), 1).as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(descriptor) = Descriptor::decode(&bytes) {
            prop_assert_eq!(descriptor.verify(&node.network), Err(DropReason::Signature));
        }
    }
}
