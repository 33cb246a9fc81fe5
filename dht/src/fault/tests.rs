//! Tests of fault proofs: each liar is proved guilty, and no honest node can be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::{
    bans::Bans,
    certificate::Vote,
    directory::{Basis, Directory, Header},
    epoch,
    testing::{Past, TestNode, params},
};
use mix::time::Span;
use proptest::prelude::*;
use std::sync::OnceLock;

/// Nine nodes and two certified epochs: made once, read by all.
fn past() -> &'static Past {
    static PAST: OnceLock<Past> = OnceLock::new();
    PAST.get_or_init(|| Past::new(&params(), 9, 2))
}

fn vote(node: &TestNode, epoch: u32, root: [u8; 32]) -> SignedVote {
    let said = (epoch, root, Presence::default());
    let vote = Vote::sign(&node.network, &node.key, &node.vrf(), &[0; 32], said);
    SignedVote::of(&vote)
}

fn proposal(node: &TestNode, epoch: usize, view: u8, count: u32) -> Proposal {
    let mut header = *past().directories[epoch].header();
    header.count = count;
    Proposal::sign(&node.network, &node.key, &header, view)
}

/// The set of epoch 1 without one of its nodes, by the rules in everything else.
fn without(number: u32, basis: &Basis) -> Directory {
    let honest = &past().directories[1];
    let nodes = past().nodes.iter().filter(|node| node.number != number);
    let records = nodes.map(|node| node.records(1));
    Directory::build_on(&params(), 1, honest.header().seed, records, basis)
}

fn basis() -> Basis {
    Basis {
        certified: Some(past().directories[0].clone()),
        previous_certificate: past().certificates[0].hash(),
        ..Default::default()
    }
}

/// Witness 2 says that it holds the beat of node 5 of epoch 1, `late` after the guard.
fn receipt(late: Span) -> Receipt {
    let at = epoch::guard(&params(), 1) + late;
    let node = &past().nodes[2];
    Receipt::sign(&node.network, &node.key, &past().nodes[5].beat(1, 0), at)
}

fn omission() -> Fault {
    let (witness, set) = (&past().nodes[2], without(5, &basis()));
    let vote = vote(witness, 1, set.root());
    let omission = Omission::of(witness.id(), &receipt(Span(0)), &set, &vote).unwrap();
    Fault::Omission(Box::new(omission))
}

/// One of each kind, all by node 2 in epoch 1.
fn faults() -> [Fault; 4] {
    let node = &past().nodes[2];
    [
        Fault::of_beats(node.id(), &node.beat(1, 0), &node.beat(1, 1)).unwrap(),
        Fault::of_votes(node.id(), vote(node, 1, [1; 32]), vote(node, 1, [2; 32])).unwrap(),
        Fault::of_proposals(
            node.id(),
            &proposal(node, 1, 3, 7),
            &proposal(node, 1, 3, 8),
        )
        .unwrap(),
        omission(),
    ]
}

#[test]
fn every_kind_proves_its_culprit_guilty() {
    let node = &past().nodes[2];
    let expected = Offence {
        culprit: node.short(),
        epoch: 1,
    };
    for fault in faults() {
        assert_eq!(fault.verify(&params()), Ok(expected));
        assert_eq!(fault.culprit(), node.id());
        let bytes = fault.encode();
        assert!(bytes.len() <= MAX_FAULT_LEN);
        assert_eq!(Fault::decode(&bytes), Ok(fault));
    }
    assert_eq!(
        faults().map(|fault| fault.encode().len())[..3],
        [34 + 272, 34 + 2 * 121, 34 + 2 * 286]
    );
}

#[test]
fn the_order_of_the_halves_does_not_matter() {
    let node = &past().nodes[2];
    let (a, b) = (node.beat(1, 0), node.beat(1, 1));
    assert_eq!(
        Fault::of_beats(node.id(), &a, &b),
        Fault::of_beats(node.id(), &b, &a)
    );
    let (a, b) = (vote(node, 1, [1; 32]), vote(node, 1, [2; 32]));
    assert_eq!(
        Fault::of_votes(node.id(), a, b),
        Fault::of_votes(node.id(), b, a)
    );
    let (a, b) = (proposal(node, 1, 3, 7), proposal(node, 1, 3, 8));
    assert_eq!(
        Fault::of_proposals(node.id(), &a, &b),
        Fault::of_proposals(node.id(), &b, &a)
    );
}

#[test]
fn what_an_honest_node_does_is_no_fault() {
    let node = &past().nodes[2];
    let beat = node.beat(1, 0);
    assert_eq!(Fault::of_beats(node.id(), &beat, &beat), None);
    assert_eq!(Fault::of_beats(node.id(), &beat, &node.beat(0, 0)), None);
    assert_eq!(
        Fault::of_votes(node.id(), vote(node, 1, [1; 32]), vote(node, 1, [1; 32])),
        None
    );
    assert_eq!(
        Fault::of_votes(node.id(), vote(node, 1, [1; 32]), vote(node, 0, [2; 32])),
        None
    );
    // The same header again, and another one when its turn comes again.
    assert_eq!(
        Fault::of_proposals(
            node.id(),
            &proposal(node, 1, 3, 7),
            &proposal(node, 1, 3, 7)
        ),
        None
    );
    assert_eq!(
        Fault::of_proposals(
            node.id(),
            &proposal(node, 1, 3, 7),
            &proposal(node, 1, 4, 8)
        ),
        None
    );
    // Halves that name somebody else.
    let framed = Fault::of_beats(past().nodes[3].id(), &beat, &node.beat(1, 1)).unwrap();
    assert_eq!(framed.verify(&params()), Err(DropReason::Signature));
}

#[test]
fn halves_in_the_wrong_order_are_not_another_encoding() {
    for (fault, len) in faults().into_iter().zip([136, 121, 286]) {
        let mut bytes = fault.encode();
        bytes[34..].rotate_left(len);
        assert_eq!(Fault::decode(&bytes), Err(DropReason::Malformed));
    }
}

#[test]
fn a_witness_answers_for_what_it_held_in_time() {
    let witness = &past().nodes[2];
    let set = without(5, &basis());
    let vote = vote(witness, 1, set.root());
    let prove = |receipt: &Receipt, set: &Directory, vote: &SignedVote| {
        let omission = Omission::of(witness.id(), receipt, set, vote)?;
        let fault = Fault::Omission(Box::new(omission));
        Some(fault.verify(&params()))
    };
    let good = receipt(Span(0));
    assert!(prove(&good, &set, &vote).unwrap().is_ok());
    // Too late to be missed.
    let late = receipt(Span::from_millis(1));
    assert_eq!(prove(&late, &set, &vote), Some(Err(DropReason::Malformed)));
    // The set has the beat, or the vote is for another one.
    let whole = &past().directories[1];
    assert_eq!(prove(&good, whole, &vote), None);
    assert_eq!(
        prove(&good, whole, &self::vote(witness, 1, whole.root())),
        None
    );
    // Another's receipt.
    let node = &past().nodes[3];
    let other = Receipt::sign(
        &node.network,
        &node.key,
        &past().nodes[5].beat(1, 0),
        mix::time::Moment(0),
    );
    assert_eq!(prove(&other, &set, &vote), Some(Err(DropReason::Malformed)));
    let mut stolen = good;
    stolen.signature = other.signature;
    assert_eq!(
        prove(&stolen, &set, &vote),
        Some(Err(DropReason::Signature))
    );
    // A vote for it that the witness didn't cast.
    let forged = self::vote(node, 1, set.root());
    assert_eq!(
        prove(&good, &set, &forged),
        Some(Err(DropReason::Signature))
    );
}

/// A node gets receipts and then cheats: leaving it out is right, and nobody who does so is guilty.
#[test]
fn a_banned_node_excuses_whoever_leaves_it_out() {
    let cheat = &past().nodes[5];
    let fault = Fault::of_beats(cheat.id(), &cheat.beat(1, 0), &cheat.beat(1, 1)).unwrap();
    let offence = fault.verify(&params()).unwrap();
    let certified = Some(past().directories[0].clone());
    let previous = past().certificates[0].hash();
    let basis = Basis::after(&params(), 1, certified, [offence], previous);
    assert_eq!(
        basis.bans.until(&cheat.short()),
        Some(1 + params().ban_epochs)
    );
    let set = without(99, &basis);
    assert!(set.by_short(&cheat.short()).is_none(), "left out by rule");
    assert_eq!(set.header().bans, basis.bans.hash());
    let witness = &past().nodes[2];
    let vote = vote(witness, 1, set.root());
    assert_eq!(
        Omission::of(witness.id(), &receipt(Span(0)), &set, &vote),
        None
    );
    // Nor does the empty list of another set help the accuser.
    let Fault::Omission(mut omission) = omission() else {
        unreachable!()
    };
    omission.header = *set.header();
    omission.vote = vote.signature;
    omission.absence = set.prove_absence(&cheat.short()).unwrap();
    omission.not_banned = Bans::default().prove_absence(&cheat.short()).unwrap();
    let fault = Fault::Omission(omission);
    assert_eq!(fault.verify(&params()), Err(DropReason::Malformed));
}

/// The longest proof: 8,192 nodes, as many banned, both gaps in the very middle.
#[test]
fn the_longest_proof_fits() {
    let tree = crate::merkle::Tree::new(vec![[0; 32]; 8_192]);
    let longest = (0..8_191)
        .filter_map(|at| tree.prove(at, 2))
        .map(|p| p.len());
    let hashes = longest.max().unwrap();
    assert_eq!(hashes, 24);
    let gap = |leaf: usize| 4 + 2 * leaf + 1 + 32 * hashes;
    let head = 34 + RECEIPT_LEN + Header::LEN + Presence::LEN + SIGNATURE_LEN;
    assert_eq!(head + gap(82) + 4 + 32 + gap(20), MAX_FAULT_LEN);
}

#[test]
fn every_flipped_bit_is_refused() {
    for (kind, fault) in faults().into_iter().enumerate() {
        let bytes = fault.encode();
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let proved = Fault::decode(&other).is_ok_and(|other| other.verify(&params()).is_ok());
            assert!(!proved, "kind {kind}, bit {bit}");
        }
    }
    let network = params().id();
    let bytes = receipt(Span(0)).to_bytes();
    for bit in 0..RECEIPT_LEN * 8 {
        let mut other = bytes;
        other[bit / 8] ^= 1 << (bit % 8);
        let holds = Receipt::decode(&other)
            .is_ok_and(|other| other.verify(&network, &past().nodes[2].id()).is_ok());
        assert!(!holds, "receipt, bit {bit}");
    }
}

#[test]
fn a_proof_holds_in_its_network_only() {
    let other = NetworkParams {
        genesis_ms: params().genesis_ms + 1,
        ..(*params()).clone()
    };
    for fault in faults() {
        assert!(fault.verify(&other).is_err());
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(kind in 0u8..6, mut bytes in proptest::collection::vec(any::<u8>(), 2..1_300), like in any::<bool>()) {
        if like {
            // Random bytes behind the beginning of a real proof get further.
            let real = faults()[usize::from(kind) % 4].encode();
            let keep = bytes.len() % real.len();
            bytes.splice(..keep.min(bytes.len()), real[..keep].iter().copied());
        } else {
            bytes[..2].copy_from_slice(&[VERSION, kind]);
        }
        if let Ok(fault) = Fault::decode(&bytes) {
            prop_assert_eq!(fault.encode(), bytes);
            prop_assert!(fault.verify(&params()).is_err());
        }
    }

    #[test]
    fn receipts_round_trip(held_at in any::<u64>(), number in 0u32..9) {
        let node = &past().nodes[number as usize];
        let now = mix::time::Moment::from_millis(held_at >> 20);
        let receipt = Receipt::sign(&node.network, &node.key, &node.beat(1, 0), now);
        prop_assert_eq!(Receipt::decode(&receipt.to_bytes()), Ok(receipt));
        prop_assert!(receipt.verify(&node.network, &node.id()).is_ok());
    }
}
