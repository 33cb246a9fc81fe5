//! Proofs between `Pki`s: who equivocates or breaks a receipt is known to all, and nobody is accused without proof.

use super::*;
use crate::{fault::Fault, pki::sync::Topic};

/// The epoch whose beats are sent at the beginning of this one.
pub(super) const NEXT: u32 = EPOCH + 1;

pub(super) fn other(n: u32) -> TestNode {
    TestNode::new(&params(), 4_000 + n)
}

/// A `Pki` of node `n` that knows these nodes' records of the next epoch.
pub(super) fn knowing(n: u32, nodes: &[TestNode]) -> Pki {
    let mut pki = Pki::new(params(), other(n).id(), Caps::default(), rng(n as u8));
    pki.handle_timeout(early());
    for node in nodes {
        pki.handle_bundle(early(), &introduce(node, early(), &[node.beat(NEXT, 0)]));
    }
    pki.sync.introduce();
    pki
}

/// When beats of the next epoch are sent.
pub(super) fn early() -> Moment {
    epoch::beat_window(&params(), NEXT).from
}

fn second(node: &TestNode) -> Vec<u8> {
    bundle(&[Record::Beat(node.beat(NEXT, 1).as_bytes())])
}

fn proof(node: &TestNode, variants: [u8; 2]) -> Vec<u8> {
    let [a, b] = variants.map(|variant| node.beat(NEXT, variant));
    Fault::of_beats(node.id(), &a, &b).unwrap().encode()
}

/// The proofs that a node gossips from now on.
pub(super) fn told(pki: &mut Pki) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for step in 0..4 {
        pki.handle_timeout(pki.now + Span::from_millis(250 * step));
        while let Some(bytes) = pki.poll_bundle() {
            for record in bundle::decode(&bytes).unwrap().1 {
                if let Record::Fault(bytes) = record {
                    out.push(bytes.to_vec());
                }
            }
        }
    }
    out
}

#[test]
fn two_beats_become_a_proof_that_bans_everywhere() {
    let all = nodes(&params(), 6);
    let (mut one, mut two) = (knowing(1, &all), knowing(2, &all));
    assert_eq!(one.directory(NEXT).unwrap().len(), 6);
    one.handle_bundle(early(), &second(&all[3]));
    let told = told(&mut one);
    assert_eq!(told.len(), 1, "said once");
    let bytes = bundle(&[Record::Fault(&told[0])]);
    assert_eq!(two.handle_bundle(early(), &bytes), Verdict::Accept);
    assert_eq!(two.handle_bundle(early(), &bytes), Verdict::Ignore);
    for pki in [&mut one, &mut two] {
        let set = pki.directory(NEXT).unwrap();
        assert!(set.by_short(&all[3].short()).is_none() && set.len() == 5);
        assert_eq!(pki.counters().faults, 1);
    }
    assert_eq!(
        one.directory(NEXT).unwrap().root(),
        two.directory(NEXT).unwrap().root()
    );
    // A later epoch as well: while no set is certified, everybody is a member.
    let later = epoch::beat_window(&params(), NEXT + 1).from;
    one.handle_bundle(
        later,
        &bundle(&[Record::Beat(all[3].beat(NEXT + 1, 0).as_bytes())]),
    );
    one.handle_bundle(
        later,
        &bundle(&[Record::Beat(all[4].beat(NEXT + 1, 0).as_bytes())]),
    );
    assert_eq!(one.directory(NEXT + 1).unwrap().len(), 1);
}

#[test]
fn a_proof_is_checked_before_it_is_forwarded() {
    let all = nodes(&params(), 3);
    let mut one = knowing(1, &all);
    let good = proof(&all[0], [0, 1]);
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(
        one.handle_bundle(early(), &bundle(&[Record::Fault(&forged)])),
        Verdict::Reject
    );
    assert_eq!(
        one.handle_bundle(early(), &bundle(&[Record::Fault(&[1, 1, 7])])),
        Verdict::Reject
    );
    assert_eq!(
        one.handle_bundle(early(), &bundle(&[Record::Fault(&good)])),
        Verdict::Accept
    );
    // Of another proof of the same fault nobody has checked the signatures: it isn't passed on.
    let mut unchecked = proof(&all[0], [2, 3]);
    *unchecked.last_mut().unwrap() ^= 1;
    let fresh = proof(&all[1], [0, 1]);
    let both = bundle(&[Record::Fault(&fresh), Record::Fault(&unchecked)]);
    assert_eq!(one.handle_bundle(early(), &both), Verdict::Ignore);
    assert_eq!(
        told(&mut one),
        [fresh],
        "what was good in it goes out by itself"
    );
    assert_eq!(one.faults.len(), 2);
}

#[test]
fn our_own_second_beat_is_told_to_nobody() {
    let all = nodes(&params(), 3);
    let own = other(1);
    let mut one = knowing(1, &all);
    one.publish(early(), OwnRecord::Descriptor(own.descriptor(early(), 1)))
        .unwrap();
    one.publish(early(), OwnRecord::Beat(own.beat(NEXT, 0)))
        .unwrap();
    let again = one.publish(early(), OwnRecord::Beat(own.beat(NEXT, 1)));
    assert_eq!(again, Err(PublishError::SecondBeat(NEXT)));
    assert!(told(&mut one).is_empty() && one.faults.len() == 0);
}

#[test]
fn neighbours_get_the_proofs_at_the_cut_off() {
    let all = nodes(&params(), 8);
    let (mut one, mut two) = (knowing(1, &all), knowing(2, &all));
    two.handle_bundle(early(), &bundle(&[Record::Fault(&proof(&all[0], [0, 1]))]));
    one.handle_bundle(early(), &bundle(&[Record::Fault(&proof(&all[1], [0, 1]))]));
    let (cutoff, (from, to)) = (epoch::cutoff(&params(), NEXT), (one.own().0, two.own().0));
    one.handle_timeout(cutoff - Span::from_millis(1));
    assert!(one.poll_sync().is_none());
    for step in 0..20 {
        let now = cutoff + Span::from_millis(100 * step);
        one.handle_timeout(now);
        while let Some(sync) = one.poll_sync() {
            let answer = two.handle_sync_request(now, &from, &sync.request).unwrap();
            assert_ne!(
                one.handle_sync_response(now, sync.token, &to, &answer),
                Verdict::Reject
            );
        }
    }
    assert_eq!((one.faults.len(), two.faults.len()), (2, 2));
    assert_eq!(
        one.directory(NEXT).unwrap().root(),
        two.directory(NEXT).unwrap().root()
    );
}

#[test]
fn forged_proofs_of_a_neighbour_are_its_fault() {
    let all = nodes(&params(), 3);
    let mut one = knowing(1, &all);
    let mut forged = proof(&all[0], [0, 1]);
    *forged.last_mut().unwrap() ^= 1;
    let mut item = Vec::new();
    bundle::put(&mut item, Record::Fault(&forged));
    let mut message = vec![1; 9];
    message.extend_from_slice(&[0, 0, 0, 0, 1, 0]);
    message.extend_from_slice(&(item.len() as u16).to_le_bytes());
    message.extend(item);
    let liar = other(9).id();
    assert!(
        one.handle_sync_request(early(), &liar, &Topic::Faults.request(&message))
            .is_none()
    );
    let harmless = Topic::Faults.request(&[&[1; 9][..], &[0; 6]].concat());
    assert!(
        one.handle_sync_request(early(), &liar, &harmless).is_none(),
        "shunned"
    );
    assert!(
        one.handle_sync_request(early(), &other(8).id(), &harmless)
            .is_some()
    );
    assert_eq!(one.faults.len(), 0);
}
