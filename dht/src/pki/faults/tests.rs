//! Tests of the proofs kept: what is taken, what gives way, what they mean.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::{
    fault::{MAX_FAULT_LEN, SignedVote},
    reconcile::{Items, Message, Session, answer},
    testing::{Past, TestNode, nodes, params},
};

const NOW: u32 = 200;

fn faults() -> Faults {
    let mut faults = Faults::new(&params());
    faults.turn(NOW);
    faults
}

/// Two beats of one epoch; of another pair of variants another proof of the same fault.
fn proof(node: &TestNode, epoch: u32, variants: [u8; 2]) -> Vec<u8> {
    let [a, b] = variants.map(|variant| node.beat(epoch, variant));
    Fault::of_beats(node.id(), &a, &b).unwrap().encode()
}

fn insert(faults: &mut Faults, bytes: &[u8]) -> Outcome {
    put(faults, bytes, |_| true).0
}

/// The outcome, and the signatures that were checked for it.
fn put(faults: &mut Faults, bytes: &[u8], member: impl Fn(&ShortId) -> bool) -> (Outcome, u64) {
    let mut counters = Counters::default();
    let now = Moment::from_millis(1_000);
    let outcome = faults.insert(now, bytes, &params(), member, &mut counters);
    (outcome, counters.verified)
}

#[test]
fn one_proof_of_each_culprit_and_epoch_is_kept() {
    let (mut faults, node) = (faults(), TestNode::new(&params(), 1));
    let bytes = proof(&node, NOW, [0, 1]);
    assert_eq!(put(&mut faults, &bytes, |_| true), (Outcome::New, 2));
    assert_eq!(put(&mut faults, &bytes, |_| true), (Outcome::Seen, 0));
    let other = proof(&node, NOW, [2, 3]);
    assert_eq!(put(&mut faults, &other, |_| true), (Outcome::Unchecked, 0));
    assert_eq!(
        insert(&mut faults, &proof(&node, NOW + 1, [0, 1])),
        Outcome::New
    );
    let offences: Vec<_> = faults.offences(None).map(|offence| offence.epoch).collect();
    assert_eq!((offences, faults.len()), (vec![NOW, NOW + 1], 2));
}

#[test]
fn forged_and_malformed_proofs_are_refused_with_blame() {
    let (mut faults, node) = (faults(), TestNode::new(&params(), 1));
    let mut bytes = proof(&node, NOW, [0, 1]);
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(
        insert(&mut faults, &bytes),
        Outcome::Dropped(DropReason::Signature)
    );
    bytes.truncate(100);
    assert_eq!(
        insert(&mut faults, &bytes),
        Outcome::Dropped(DropReason::Malformed)
    );
    assert_eq!(
        insert(&mut faults, &[]),
        Outcome::Dropped(DropReason::Malformed)
    );
    let long = vec![1; MAX_FAULT_LEN + 1];
    assert_eq!(
        insert(&mut faults, &long),
        Outcome::Dropped(DropReason::Malformed)
    );
    assert!(DropReason::Signature.blames_sender() && DropReason::Malformed.blames_sender());
    assert_eq!(faults.len(), 0);
}

#[test]
fn a_proof_is_kept_while_it_bans_and_not_taken_before_or_after() {
    let (mut faults, span) = (faults(), params().ban_epochs);
    let node = TestNode::new(&params(), 1);
    let outcomes = [NOW - span, NOW - span + 1, NOW + 1, NOW + 2, u32::MAX]
        .map(|epoch| insert(&mut faults, &proof(&node, epoch, [0, 1])));
    let epoch = Outcome::Dropped(DropReason::Epoch);
    assert_eq!(outcomes, [epoch, Outcome::New, Outcome::New, epoch, epoch]);
    faults.turn(NOW + 1);
    assert_eq!(faults.len(), 1);
    faults.turn(NOW + span);
    assert_eq!(faults.len(), 1);
    faults.turn(NOW + 1 + span);
    assert_eq!((faults.len(), faults.items().keys().len()), (0, 0));
    assert!(faults.kept.is_empty() && faults.keys.is_empty());
}

#[test]
fn of_one_culprit_the_latest_four_are_kept() {
    let (mut faults, node) = (faults(), TestNode::new(&params(), 1));
    for epoch in [NOW - 8, NOW - 2, NOW - 6, NOW + 1, NOW - 7, NOW, NOW - 9] {
        insert(&mut faults, &proof(&node, epoch, [0, 1]));
        assert!(faults.len() <= PER_CULPRIT);
    }
    let epochs: Vec<_> = faults.offences(None).map(|offence| offence.epoch).collect();
    assert_eq!(epochs, [NOW - 6, NOW - 2, NOW, NOW + 1]);
}

#[test]
fn when_full_strangers_go_first_then_the_oldest_and_everybody_keeps_the_same() {
    let all = nodes(&params(), MAX_FAULTS as u32 + 60);
    let is_member = |short: &ShortId| all[..40].iter().any(|node| node.short() == *short);
    let proofs: Vec<_> = (all.iter())
        .map(|node| proof(node, NOW - node.number % 3, [0, 1]))
        .collect();
    let mut faults = faults();
    // Strangers come first and fill it.
    for bytes in proofs.iter().rev() {
        put(&mut faults, bytes, is_member);
        assert!(faults.len() <= MAX_FAULTS && faults.keys.len() <= MAX_FAULTS);
    }
    let kept = |faults: &Faults| faults.offences(None).collect::<Vec<_>>();
    let members = kept(&faults)
        .iter()
        .filter(|o| is_member(&o.culprit))
        .count();
    assert_eq!((faults.len(), members), (MAX_FAULTS, 40));
    let oldest = kept(&faults)
        .iter()
        .filter(|o| o.epoch == NOW - 2 && !is_member(&o.culprit))
        .count();
    let strangers = all[40..].iter().filter(|node| node.number % 3 == 2).count();
    assert_eq!(oldest, strangers - 60, "all that went were of the oldest");
    // One that would go at once costs no check.
    let last = TestNode::new(&params(), 9_000);
    let (outcome, checked) = put(&mut faults, &proof(&last, NOW - 5, [0, 1]), is_member);
    assert_eq!((outcome, checked), (Outcome::Dropped(DropReason::Full), 0));
    let mut other = self::faults();
    for bytes in &proofs {
        put(&mut other, bytes, is_member);
    }
    assert!(kept(&other) == kept(&faults), "whatever the order");
}

#[test]
fn offences_can_be_asked_for_by_when_they_were_held() {
    let (mut faults, params) = (faults(), params());
    for (number, ms) in [(1, 100), (2, 200), (3, 300)] {
        let bytes = proof(&TestNode::new(&params, number), NOW, [0, 1]);
        let (now, mut counters) = (Moment::from_millis(ms), Counters::default());
        faults.insert(now, &bytes, &params, |_| true, &mut counters);
    }
    let held = |ms| faults.offences(Some(Moment::from_millis(ms))).count();
    assert_eq!([held(99), held(100), held(250), held(300)], [0, 1, 2, 3]);
    assert_eq!(faults.offences(None).count(), 3);
}

/// What both know after an exchange.
fn reconcile(one: &mut Faults, other: &mut Faults) -> u32 {
    let take = |faults: &mut Faults, message: &Message<'_>| {
        for item in message.items() {
            let key = faults.items().key_of(item).unwrap();
            insert(faults, &item[3..]);
            faults.refuse_unless_held(key);
        }
    };
    let mut session = Session::new([5; 8]);
    while let Some(request) = session.request(&one.items()) {
        let asked = Message::decode(&request).unwrap();
        take(other, &asked);
        let response = answer(&other.items(), &asked);
        let answered = Message::decode(&response).unwrap();
        session.take(&one.items(), &answered).unwrap();
        take(one, &answered);
    }
    session.rounds()
}

#[test]
fn neighbours_reconcile_what_they_have_proofs_of() {
    let all = nodes(&params(), 60);
    let (mut one, mut other) = (faults(), faults());
    for node in &all[..40] {
        insert(&mut one, &proof(node, NOW, [0, 1]));
    }
    for node in &all[30..] {
        insert(&mut other, &proof(node, NOW, [2, 3]));
    }
    assert!(reconcile(&mut one, &mut other) <= 8);
    assert_eq!((one.len(), other.len()), (60, 60));
    assert!(
        one.items().keys() == other.items().keys(),
        "another proof is no difference"
    );
    assert_eq!(reconcile(&mut one, &mut other), 1);
}

#[test]
fn a_proof_that_is_over_on_one_side_is_not_sent_twice() {
    let (mut one, mut other) = (faults(), faults());
    let node = TestNode::new(&params(), 1);
    let oldest = NOW - params().ban_epochs + 1;
    insert(&mut other, &proof(&node, oldest, [0, 1]));
    one.turn(NOW + 1);
    assert_eq!(reconcile(&mut one, &mut other), 2);
    assert_eq!((one.len(), one.refused.len()), (0, 1));
    assert_eq!(reconcile(&mut one, &mut other), 1, "not asked for again");
}

#[test]
fn votes_proposals_and_omissions_are_kept_alike() {
    let past = Past::new(&params(), 8, 2);
    let (set, other) = (&past.directories[0], &past.directories[1]);
    let committee = past.committee(set);
    let node = &past.nodes[0];
    let vote = |set: &crate::directory::Directory| {
        let said = (set.epoch(), set.root(), committee.presence());
        let seed = set.header().seed;
        crate::certificate::Vote::sign(&node.network, &node.key, &node.vrf(), &seed, said)
    };
    let (a, mut header) = (vote(set), *set.header());
    header.count += 1;
    let b = {
        let said = (0, header.root(), committee.presence());
        crate::certificate::Vote::sign(&node.network, &node.key, &node.vrf(), &[1; 32], said)
    };
    let mut faults = Faults::new(&params());
    let votes = Fault::of_votes(node.id(), SignedVote::of(&a), SignedVote::of(&b)).unwrap();
    assert_eq!(insert(&mut faults, &votes.encode()), Outcome::New);
    let propose =
        |header| crate::certificate::Proposal::sign(&node.network, &past.nodes[1].key, header, 0);
    let (a, b) = (propose(set.header()), propose(&header));
    let proposals = Fault::of_proposals(past.nodes[1].id(), &a, &b).unwrap();
    assert_eq!(insert(&mut faults, &proposals.encode()), Outcome::New);
    assert_eq!(faults.offences(None).count(), 2);
    assert_eq!(other.epoch(), 1);
}
