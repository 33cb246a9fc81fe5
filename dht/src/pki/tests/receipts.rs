//! Receipts: who gets one, who gives one, and what a broken one leads to.

use super::{
    faults::{NEXT, early, knowing, other, told},
    *,
};
use crate::{
    directory::Basis,
    fault::{RECEIPT_LEN, Receipt, SignedVote},
    pki::{certify::WitnessKeys, sync::Topic},
    testing::Past,
};

/// The answer of who has nothing of the kind.
const NONE: [u8; 0] = [];

/// A witness among these nodes, whose own beat of the next epoch is out.
fn witness(all: &[TestNode]) -> Pki {
    let own = other(1);
    let mut pki = knowing(1, all);
    pki.set_witness(WitnessKeys {
        signer: own.key.clone(),
        vrf: own.vrf(),
    });
    pki.publish(early(), OwnRecord::Descriptor(own.descriptor(early(), 1)))
        .unwrap();
    pki.publish(early(), OwnRecord::Beat(own.beat(NEXT, 0)))
        .unwrap();
    pki
}

fn request(node: &TestNode, variant: u8) -> Vec<u8> {
    let mut item = Vec::new();
    bundle::put(
        &mut item,
        Record::Descriptor(node.descriptor(early(), 1).as_bytes()),
    );
    bundle::put(&mut item, Record::Beat(node.beat(NEXT, variant).as_bytes()));
    Topic::Receipt { epoch: NEXT }.request(&item)
}

#[test]
fn a_witness_gives_a_receipt_for_a_beat_it_will_insist_on() {
    let all = nodes(&params(), 5);
    let mut pki = witness(&all[..4]);
    // A node it did not know before: its records come with the request.
    let answer = pki
        .handle_sync_request(early(), &all[4].id(), &request(&all[4], 0))
        .unwrap();
    let receipt = Receipt::decode(&answer).unwrap();
    receipt.verify(&params().id(), &other(1).id()).unwrap();
    assert!(receipt.good(&params()) && receipt.owner == all[4].short());
    assert_eq!(receipt.beat, all[4].beat(NEXT, 0).hash());
    assert!(pki.store.beat(NEXT, &all[4].short()).is_some());
    assert_eq!(pki.counters().receipts_given, 1);
    let guard = epoch::guard(&params(), NEXT);
    let at_guard = pki.handle_sync_request(guard, &all[4].id(), &request(&all[4], 0));
    assert_eq!(at_guard.unwrap().len(), RECEIPT_LEN);
    let late = guard + Span::from_millis(1);
    let late = pki.handle_sync_request(late, &all[4].id(), &request(&all[4], 0));
    assert_eq!(late.unwrap(), NONE, "it would oblige to nothing");
}

#[test]
fn nobody_gets_a_receipt_for_what_may_be_left_out() {
    let all = nodes(&params(), 5);
    let ask = |pki: &mut Pki, node: &TestNode, variant| {
        pki.handle_sync_request(early(), &node.id(), &request(node, variant))
    };
    // Who is no witness, or won't vote, promises nothing.
    let mut no_keys = knowing(2, &all);
    assert_eq!(ask(&mut no_keys, &all[0], 0).unwrap(), NONE);
    no_keys.set_witness(WitnessKeys {
        signer: other(2).key.clone(),
        vrf: other(2).vrf(),
    });
    assert_eq!(ask(&mut no_keys, &all[0], 0).unwrap(), NONE);
    let mut pki = witness(&all);
    // A second beat, and after it the first as well.
    assert_eq!(ask(&mut pki, &all[0], 1).unwrap(), NONE);
    assert_eq!(ask(&mut pki, &all[0], 0).unwrap(), NONE);
    assert_eq!((pki.faults.len(), pki.counters().receipts_given), (1, 0));
    // Someone else's beat, and garbage: held against who asks.
    let thief = pki.handle_sync_request(early(), &all[1].id(), &request(&all[2], 0));
    assert!(thief.is_none() && ask(&mut pki, &all[1], 0).is_none());
    let garbage = Topic::Receipt { epoch: NEXT }.request(&[1, 2, 3]);
    assert!(
        pki.handle_sync_request(early(), &all[3].id(), &garbage)
            .is_none()
    );
    let flood = (0..300)
        .filter(|_| ask(&mut pki, &all[4], 0).is_some())
        .count();
    assert_eq!(flood, 128, "within the budget of one peer");
}

/// A node that has published its beat, and receipts of these witnesses for it.
fn with_receipts(witnesses: &[TestNode], held_at: Moment) -> Pki {
    let own = other(1);
    let mut pki = knowing(1, witnesses);
    pki.publish(early(), OwnRecord::Descriptor(own.descriptor(early(), 1)))
        .unwrap();
    pki.publish(early(), OwnRecord::Beat(own.beat(NEXT, 0)))
        .unwrap();
    for witness in witnesses {
        let receipt = Receipt::sign(&params().id(), &witness.key, &own.beat(NEXT, 0), held_at);
        let _ = pki.take_receipt(NEXT, witness.id(), &receipt.to_bytes());
    }
    pki
}

/// A certifiable set of these nodes, and the votes of the first three for it.
fn signed(all: &[TestNode]) -> (Directory, Vec<(NodeId, SignedVote)>) {
    let records = all
        .iter()
        .map(|node| (node.descriptor(early(), 1), node.beat(NEXT, 0)));
    let set = Directory::build_on(&params(), NEXT, [3; 32], records, &Basis::default());
    let past = Past::new(&params(), 4, 1);
    let committee = past.committee(&past.directories[0]);
    let votes = all[..3]
        .iter()
        .map(|node| (node.id(), SignedVote::of(&node.vote(&set, &committee))));
    let votes = votes.collect();
    (set, votes)
}

#[test]
fn a_broken_receipt_is_proved_and_told() {
    let all = nodes(&params(), 6);
    let mut pki = with_receipts(&all[2..], early());
    assert_eq!(pki.counters().receipts, 3, "no more are kept");
    let (set, votes) = signed(&all);
    pki.check_omission(&set, &votes);
    // Of the three witnesses with receipts (2, 3, 4) one voted.
    assert_eq!((pki.faults.len(), pki.counters().omissions), (1, 1));
    let told = told(&mut pki);
    let mut stranger = knowing(2, &[]);
    let bytes = bundle(&[Record::Fault(&told[0])]);
    assert_eq!(stranger.handle_bundle(early(), &bytes), Verdict::Accept);
    let offence = stranger.faults.offences(None).next().unwrap();
    assert_eq!((offence.culprit, offence.epoch), (all[2].short(), NEXT));
}

#[test]
fn no_receipt_no_vote_or_no_omission_no_accusation() {
    let all = nodes(&params(), 6);
    let (set, votes) = signed(&all);
    let accused = |mut pki: Pki, set: &Directory, votes: &[(NodeId, SignedVote)]| {
        pki.check_omission(set, votes);
        pki.faults.len()
    };
    assert_eq!(accused(with_receipts(&all[..3], early()), &set, &votes), 3);
    assert_eq!(
        accused(with_receipts(&all[3..], early()), &set, &votes),
        0,
        "they did not vote"
    );
    assert_eq!(accused(with_receipts(&all[..3], early()), &set, &[]), 0);
    // A receipt of after the guard obliges to nothing.
    let late = epoch::guard(&params(), NEXT) + Span::from_millis(1);
    assert_eq!(accused(with_receipts(&all[..3], late), &set, &votes), 0);
    // We are in the set.
    let mut with_us = all.clone();
    with_us.push(other(1));
    let (set, votes) = signed(&with_us);
    assert_eq!(accused(with_receipts(&all[..3], early()), &set, &votes), 0);
}

#[test]
fn only_receipts_for_our_beat_by_who_signed_them_are_kept() {
    let all = nodes(&params(), 3);
    let mut pki = with_receipts(&[], early());
    let (id, own) = (params().id(), other(1));
    let sign =
        |node: &TestNode, beat: &Beat| Receipt::sign(&id, &node.key, beat, early()).to_bytes();
    let good = sign(&all[0], &own.beat(NEXT, 0));
    let mut take = |from: &TestNode, bytes: &[u8]| pki.take_receipt(NEXT, from.id(), bytes);
    assert_eq!(
        take(&all[1], &good),
        Err(DropReason::Signature),
        "another one's"
    );
    let wrong = sign(&all[0], &own.beat(NEXT, 1));
    assert_eq!(take(&all[0], &wrong), Err(DropReason::Unwanted));
    let wrong = sign(&all[0], &all[1].beat(NEXT, 0));
    assert_eq!(take(&all[0], &wrong), Err(DropReason::Unwanted));
    assert_eq!(take(&all[0], &good[1..]), Err(DropReason::Malformed));
    assert_eq!(take(&all[0], &[]), Ok(Verdict::Ignore));
    assert_eq!(take(&all[0], &good), Ok(Verdict::Accept));
    take(&all[0], &good).unwrap();
    assert_eq!(pki.counters().receipts, 1, "one of each witness");
}

#[test]
fn after_publishing_candidates_are_asked_until_three_have_answered() {
    let all = nodes(&params(), 20);
    let own = other(1);
    let mut pki = knowing(1, &all);
    pki.publish(early(), OwnRecord::Descriptor(own.descriptor(early(), 1)))
        .unwrap();
    pki.publish(early(), OwnRecord::Beat(own.beat(NEXT, 0)))
        .unwrap();
    let (mut asked, mut answered) = (Vec::new(), 0);
    for step in 0..60 {
        let now = early() + Span::from_millis(100 * step);
        pki.handle_timeout(now);
        while let Some(sync) = pki.poll_sync() {
            let (SyncPeer::This(peer), Ok((Topic::Receipt { .. }, _))) =
                (&sync.peer, Topic::split(&sync.request))
            else {
                pki.handle_sync_failed(now, sync.token);
                continue;
            };
            asked.push(*peer);
            // Every other one is connected.
            let node = all.iter().find(|node| node.id() == *peer).unwrap();
            if asked.len() % 2 == 0 {
                let receipt = Receipt::sign(&params().id(), &node.key, &own.beat(NEXT, 0), now);
                pki.handle_sync_response(now, sync.token, peer, &receipt.to_bytes());
                answered += 1;
            } else {
                pki.handle_sync_failed(now, sync.token);
            }
        }
    }
    assert_eq!((asked.len(), answered, pki.counters().receipts), (6, 3, 3));
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked.len(), 6, "nobody twice");
}
