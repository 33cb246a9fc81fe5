//! Tests of admission: what was worked for one node, network and term is worth nothing elsewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::testing::{TestNode, params};

#[test]
fn terms_are_as_long_as_a_ban_and_end_at_different_times() {
    let params = params();
    let at = |e: u32| epoch::start_of(&params, e);
    let mut ends = std::collections::BTreeSet::new();
    for number in 0..64 {
        let id = TestNode::new(&params, number).id();
        let turns: Vec<_> = (0..2 * params.ban_epochs)
            .filter(|e| term(&params, &id, at(*e)) != term(&params, &id, at(*e + 1)))
            .collect();
        assert_eq!(turns.len(), 2, "{turns:?}");
        assert_eq!(turns[1] - turns[0], params.ban_epochs);
        ends.insert(turns[0]);
    }
    assert!(ends.len() > 40, "{} ends of 64", ends.len());
}

#[test]
fn extremes_saturate() {
    let params = NetworkParams {
        ban_epochs: 0,
        ..NetworkParams::local()
    };
    let _ = term(&params, &NodeId([0xff; 32]), Moment(u64::MAX));
    let challenge = Challenge::new(&NetworkId([0; 32]), &NodeId([1; 32]), u64::MAX);
    assert!(!challenge.has_effort(&[0; 31], 0));
    assert!(challenge.has_effort(&[0; 32], 0));
    assert_eq!(challenge.check(&[], 0), Err(DropReason::Admission));
    assert_eq!(challenge.check(&[0; 32], 64), Err(DropReason::Admission));
}

#[test]
fn a_network_that_asks_for_work_needs_the_feature() {
    let asks = |pow_effort| NetworkParams {
        pow_effort,
        ..NetworkParams::local()
    };
    assert_eq!(asks(1).check().is_ok(), AVAILABLE);
    assert!(asks(MAX_EFFORT + 1).check().is_err());
    assert!(asks(0).check().is_ok());
    if !AVAILABLE {
        let error = asks(1).check().unwrap_err().to_string();
        assert!(error.contains("built without"), "{error}");
    }
}

#[cfg(feature = "pow")]
mod work {
    use super::*;
    use crate::{
        OwnRecord, Pki, Verdict,
        bundle::{BundleWriter, Record},
        descriptor::Descriptor,
        id::Cell,
        pki::{Caps, PublishError},
        testing::rng,
    };
    use std::sync::Arc;

    fn solved(challenge: Challenge, effort: u8) -> [u8; PROOF_LEN] {
        Search::new(challenge, effort, 7).run()
    }

    #[test]
    fn a_proof_holds_for_its_node_network_and_term_only() {
        let (network, node) = (NetworkId([1; 32]), NodeId([2; 32]));
        let challenge = Challenge::new(&network, &node, 3);
        let proof = solved(challenge, 1);
        assert_eq!(challenge.check(&proof, 1), Ok(()));
        for bit in [0, 5, 130, 255] {
            let mut wrong = proof;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                challenge.check(&wrong, 0),
                Err(DropReason::Admission),
                "{bit}"
            );
        }
        for other in [
            Challenge::new(&NetworkId([9; 32]), &node, 3),
            Challenge::new(&network, &NodeId([9; 32]), 3),
            Challenge::new(&network, &node, 4),
        ] {
            assert_eq!(other.check(&proof, 0), Err(DropReason::Admission));
        }
        assert_eq!(challenge.check(&proof, 64), Err(DropReason::Admission));
    }

    fn asking() -> Arc<NetworkParams> {
        Arc::new(NetworkParams {
            pow_effort: 1,
            ..(*params()).clone()
        })
    }

    /// A descriptor with the proof of another one's challenge, or its own.
    fn descriptor(node: &TestNode, now: Moment, proof: &[u8]) -> Descriptor {
        let mut fields = node.fields(now, 1);
        fields.admission = proof.to_vec();
        Descriptor::sign(&node.network, &node.key, fields).unwrap()
    }

    #[test]
    fn who_did_no_work_is_not_let_in() {
        let params = asking();
        let now = epoch::start_of(&params, 2);
        let (own, node) = (TestNode::new(&params, 0), TestNode::new(&params, 1));
        let mut pki = Pki::new(params.clone(), own.id(), Caps::default(), rng(1));
        let proof = |node: &TestNode| {
            let challenge = asked(&params, &node.network, &node.id(), now).unwrap();
            solved(challenge, params.pow_effort)
        };
        let mut hear = |descriptor: &Descriptor| {
            let mut bundle = BundleWriter::new(Cell::WHOLE, 0);
            bundle.push(Record::Descriptor(descriptor.as_bytes()));
            let verdict = pki.handle_bundle(now, &bundle.finish());
            (verdict, pki.peers().count())
        };
        let none = hear(&descriptor(&node, now, &[]));
        let others = hear(&descriptor(&node, now, &proof(&own)));
        assert_eq!((none, others), ((Verdict::Reject, 0), (Verdict::Reject, 0)));
        let honest = hear(&descriptor(&node, now, &proof(&node)));
        assert_eq!(honest, (Verdict::Accept, 1));
        assert_eq!(pki.counters().dropped(DropReason::Admission), 2);

        let idle = OwnRecord::Descriptor(descriptor(&own, now, &[]));
        assert_eq!(pki.publish(now, idle), Err(PublishError::Admission));
        let worked = OwnRecord::Descriptor(descriptor(&own, now, &proof(&own)));
        assert_eq!(pki.publish(now, worked), Ok(()));
    }

    #[test]
    fn without_the_effort_neither_signature_nor_puzzle_is_looked_at() {
        let params = asking();
        let now = epoch::start_of(&params, 2);
        let node = TestNode::new(&params, 1);
        let mut pki = Pki::new(params, NodeId([0; 32]), Caps::default(), rng(1));
        let mut bundle = BundleWriter::new(Cell::WHOLE, 0);
        bundle.push(Record::Descriptor(
            descriptor(&node, now, &[7; 5]).as_bytes(),
        ));
        pki.handle_bundle(now, &bundle.finish());
        assert_eq!(pki.counters().verified, 0);
    }
}
