//! Reconciliation between `Pki`s: when it is asked for, what it brings, and what liars and floods get out of it.

use super::*;
use crate::pki::sync::Topic;
use crate::reconcile::{Items, Session};
use mix::time::Span;

fn peer(n: u32) -> TestNode {
    TestNode::new(&params(), 2_000 + n)
}

/// A `Pki` of node `n` that knows these nodes' records of the epoch.
fn knowing(n: u32, nodes: &[TestNode]) -> Pki {
    let mut pki = Pki::new(params(), peer(n).id(), Caps::default(), rng(n as u8));
    for node in nodes {
        pki.handle_bundle(start(), &introduce(node, start(), &[node.beat(EPOCH, 0)]));
    }
    pki.sync.introduce();
    pki
}

fn root(pki: &mut Pki) -> Option<[u8; 32]> {
    pki.directory(EPOCH).map(|set| set.root())
}

/// Lets `one` reconcile with `other` once; says how many requests that took.
fn reconcile(one: &mut Pki, other: &mut Pki, now: Moment) -> usize {
    one.sync_soon(now, EPOCH, None);
    one.handle_timeout(now);
    let mut requests = 0;
    while let Some(sync) = one.poll_sync() {
        requests += 1;
        assert!(sync.request.len() <= MAX_SYNC_LEN);
        let (from, to) = (one.own().0, other.own().0);
        match other.handle_sync_request(now, &from, &sync.request) {
            Some(answer) => {
                assert!(answer.len() <= MAX_SYNC_LEN);
                one.handle_sync_response(now, sync.token, &to, &answer);
            }
            None => one.handle_sync_failed(now, sync.token),
        }
    }
    requests
}

#[test]
fn both_sides_end_with_what_either_knew() {
    let all = nodes(&params(), 60);
    let (mut one, mut other) = (knowing(1, &all[..40]), knowing(2, &all[25..]));
    let requests = reconcile(&mut one, &mut other, start());
    assert!(requests <= 6, "{requests}");
    assert_eq!(root(&mut one), root(&mut knowing(3, &all)));
    assert_eq!(root(&mut one), root(&mut other));
    let (own, others) = (*one.counters(), *other.counters());
    assert_eq!((own.synced, own.sync_failed), (1, 0));
    assert_eq!(own.sync_rounds, others.sync_answered);
    assert_eq!(
        (own.sync_in, own.sync_out),
        (others.sync_out, others.sync_in)
    );
    // Descriptor and beat of each.
    assert_eq!((own.sync_records, others.sync_records), (40, 50));
    assert_eq!(reconcile(&mut one, &mut other, start()), 1);
}

#[test]
fn a_beat_that_only_one_knew_is_gossiped_onwards() {
    let all = nodes(&params(), 20);
    let (mut one, mut other) = (knowing(1, &all[..19]), knowing(2, &all));
    reconcile(&mut one, &mut other, start());
    one.handle_timeout(start() + Span::from_secs(1));
    let bundle = one.poll_bundle().unwrap();
    let (_, records) = bundle::decode(&bundle).unwrap();
    assert!(records.contains(&Record::Beat(all[19].beat(EPOCH, 0).as_bytes())));
    // Half a network that was cut off is not.
    let mut fresh = knowing(3, &all[..2]);
    reconcile(&mut fresh, &mut other, start());
    fresh.handle_timeout(start() + Span::from_secs(1));
    assert!(fresh.poll_bundle().is_none());
}

#[test]
fn a_newer_descriptor_comes_over_too() {
    let all = nodes(&params(), 5);
    let (mut one, mut other) = (knowing(1, &all), knowing(2, &all));
    let renewed = all[0].descriptor(start(), 2);
    other.handle_bundle(start(), &bundle(&[Record::Descriptor(renewed.as_bytes())]));
    assert_ne!(root(&mut one), root(&mut other));
    reconcile(&mut one, &mut other, start());
    assert_eq!(root(&mut one), root(&mut other));
    assert_eq!(one.counters().dropped(DropReason::Outdated), 0);
}

#[test]
fn an_equivocator_costs_two_records_and_not_an_endless_quarrel() {
    let all = nodes(&params(), 10);
    let (mut one, mut other) = (knowing(1, &all[..9]), knowing(2, &all[..9]));
    for (pki, variant) in [(&mut one, 0), (&mut other, 1)] {
        let beat = all[9].beat(EPOCH, variant);
        pki.handle_bundle(start(), &introduce(&all[9], start(), &[beat]));
    }
    assert!(reconcile(&mut one, &mut other, start()) <= 4);
    assert_eq!(one.counters().dropped(DropReason::Equivocation), 1);
    assert_eq!(other.counters().dropped(DropReason::Equivocation), 1);
    // What was found useless isn't asked for again.
    assert!(reconcile(&mut one, &mut other, start()) <= 3);
    assert_eq!(one.counters().dropped(DropReason::Equivocation), 1);
}

#[test]
fn at_the_cut_off_three_neighbours_are_asked_each_another() {
    let all = nodes(&params(), 3);
    let mut pki = knowing(1, &all);
    let cutoff = epoch::cutoff(&params(), EPOCH + 1);
    pki.handle_timeout(cutoff - Span::from_millis(1));
    assert!(pki.poll_sync().is_none());
    let (mut now, mut asked, mut faults) = (cutoff, 0, 0);
    while now < cutoff + Span::from_secs(9) {
        pki.handle_timeout(now);
        while let Some(sync) = pki.poll_sync() {
            let (topic, message) = Topic::split(&sync.request).unwrap();
            if matches!(topic, Topic::Certificate { .. }) {
                pki.handle_sync_failed(now, sync.token);
                continue;
            }
            let message = crate::reconcile::Message::decode(message).unwrap();
            if topic == Topic::Faults {
                let neighbour = peer(asked as u32).id();
                assert_eq!(sync.peer, SyncPeer::This(neighbour), "the one just asked");
                let same = crate::reconcile::answer(&pki.faults.items(), &message);
                pki.handle_sync_response(now, sync.token, &neighbour, &same);
                faults += 1;
                continue;
            }
            assert_eq!(topic, Topic::Open { epoch: EPOCH + 1 });
            let SyncPeer::Any { but, .. } = &sync.peer else {
                panic!("nobody is chosen before the first answer")
            };
            assert_eq!(but.len(), asked, "not those asked before");
            asked += 1;
            let neighbour = peer(asked as u32).id();
            let same = crate::reconcile::answer(&pki.store.held(EPOCH + 1), &message);
            assert_eq!(
                pki.handle_sync_response(now, sync.token, &neighbour, &same),
                Verdict::Ignore
            );
        }
        now = pki.poll_timeout().unwrap();
    }
    assert_eq!((asked, faults, pki.counters().synced), (3, 3, 6));
}

#[test]
fn a_newcomer_that_never_saw_a_head_asks_nobody() {
    let mut pki = pki(Caps::default());
    pki.sync_soon(start(), EPOCH, None);
    pki.handle_timeout(start() + Span::from_secs(1));
    assert!(pki.poll_sync().is_none());
}

#[test]
fn a_foreign_root_is_reconciled_first_and_read_page_by_page_only_if_that_does_not_help() {
    let all = nodes(&params(), 100);
    let mut other = knowing(2, &all[..30]);
    let head = Head::of(&other.directory(EPOCH).unwrap()).encode();
    let key = head_key(other.network(), EPOCH);
    let show = |pki: &mut Pki, now: Moment| {
        pki.handle_timeout(now);
        let asked: Vec<_> = std::iter::from_fn(|| pki.poll_lookup()).collect();
        assert!(asked.contains(&key), "the head is asked for");
        pki.handle_record(now, &key, &head);
        pki.handle_lookup_done(now, &key);
        pki.handle_timeout(now);
    };
    let mut pki = knowing(1, &all[..25]);
    let mut now = start();
    for _ in 0..2 {
        show(&mut pki, now);
        assert!(pki.poll_lookup().is_none(), "no page is read");
        // Nobody answers.
        let sync = pki.poll_sync().unwrap();
        pki.handle_sync_failed(now, sync.token);
        now += Span::from_secs(4);
    }
    show(&mut pki, now);
    assert_eq!(
        std::iter::from_fn(|| pki.poll_lookup()).count(),
        2,
        "its pages"
    );

    // Who lacks nearly everything reads pages at once: they come from many.
    let mut other = knowing(2, &all);
    let head = Head::of(&other.directory(EPOCH).unwrap()).encode();
    let mut fresh = knowing(3, &all[..1]);
    fresh.handle_timeout(start());
    while fresh.poll_lookup().is_some() {}
    fresh.handle_record(start(), &key, &head);
    fresh.handle_lookup_done(start(), &key);
    assert!(fresh.poll_lookup().is_some());
    fresh.handle_timeout(start());
    assert!(fresh.poll_sync().is_none());
}

#[test]
fn one_peer_is_answered_within_its_budget() {
    let all = nodes(&params(), 3);
    let (mut one, mut other) = (knowing(1, &all), knowing(2, &all));
    one.sync_soon(start(), EPOCH, None);
    one.handle_timeout(start());
    let request = one.poll_sync().unwrap().request;
    let answered = (0..500).filter(|_| {
        let flooder = peer(1).id();
        other
            .handle_sync_request(start(), &flooder, &request)
            .is_some()
    });
    assert_eq!(answered.count(), 128);
    assert_eq!(other.counters().dropped(DropReason::Budget), 500 - 128);
    let honest = peer(9).id();
    assert!(
        other
            .handle_sync_request(start(), &honest, &request)
            .is_some()
    );
}

/// A message with one item, made of these records.
fn message_with(epoch: u32, descriptor: &[u8], beat: &[u8; BEAT_LEN]) -> Vec<u8> {
    let mut item = Vec::new();
    bundle::put(&mut item, Record::Descriptor(descriptor));
    bundle::put(&mut item, Record::Beat(beat));
    let mut out = Topic::Open { epoch }.request(&[1; 9]);
    out.extend([0, 0, 0, 0, 1, 0]);
    out.extend((item.len() as u16).to_le_bytes());
    out.extend(item);
    out
}

#[test]
fn who_sends_forgeries_is_neither_answered_nor_asked_again_in_this_epoch() {
    let node = TestNode::new(&params(), 1);
    let (descriptor, beat) = node.records(EPOCH);
    let mut forged = *beat.as_bytes();
    forged[BEAT_LEN - 1] ^= 1;
    let good = message_with(EPOCH, descriptor.as_bytes(), beat.as_bytes());
    let bad = message_with(EPOCH, descriptor.as_bytes(), &forged);
    let (liar, honest) = (peer(1).id(), peer(2).id());
    let mut pki = knowing(3, &[]);
    assert!(pki.handle_sync_request(start(), &liar, &bad).is_none());
    assert!(pki.handle_sync_request(start(), &liar, &good).is_none());
    assert!(pki.handle_sync_request(start(), &honest, &good).is_some());
    assert_eq!(pki.directory(EPOCH).unwrap().len(), 1);
    pki.sync_soon(start(), EPOCH, None);
    pki.handle_timeout(start());
    let SyncPeer::Any { but, .. } = pki.poll_sync().unwrap().peer else {
        panic!()
    };
    assert_eq!(but, [liar]);
    let next = epoch::start_of(&params(), EPOCH + 1);
    let good = message_with(
        EPOCH + 1,
        descriptor.as_bytes(),
        node.beat(EPOCH + 1, 0).as_bytes(),
    );
    assert!(pki.handle_sync_request(next, &liar, &good).is_some());
}

#[test]
fn answers_of_others_late_ones_and_garbage_end_nothing_but_their_own_exchange() {
    let all = nodes(&params(), 3);
    let mut pki = knowing(1, &all);
    let (honest, other) = (peer(5).id(), peer(6).id());
    pki.sync_soon(start(), EPOCH, Some(honest));
    pki.handle_timeout(start());
    let sync = pki.poll_sync().unwrap();
    assert_eq!(sync.peer, SyncPeer::This(honest));
    assert_eq!(
        pki.handle_sync_response(start(), sync.token, &other, &[]),
        Verdict::Ignore
    );
    assert_eq!(
        pki.handle_sync_response(start(), 999, &honest, &[]),
        Verdict::Ignore
    );
    assert_eq!(
        pki.handle_sync_response(start(), sync.token, &honest, &[1, 2]),
        Verdict::Reject
    );
    assert_eq!(
        pki.handle_sync_response(start(), sync.token, &honest, &[]),
        Verdict::Ignore
    );
    assert_eq!(pki.counters().sync_failed, 1);
    // Without an answer it ends by itself.
    pki.sync_soon(start(), EPOCH, None);
    pki.handle_timeout(start());
    assert!(pki.poll_sync().is_some());
    pki.handle_timeout(start() + Span::from_secs(30));
    assert_eq!(pki.counters().sync_failed, 2);
}

#[test]
fn other_epochs_cells_and_versions_are_not_answered() {
    let mut pki = knowing(1, &nodes(&params(), 3));
    let request = |version: u8, cell: u8, epoch: u32| {
        let mut out = vec![version, 1, cell, 0, 0];
        out.extend(epoch.to_le_bytes());
        out.extend(Session::new([1; 8]).request(&NoItems).unwrap());
        out
    };
    let mut ask = |bytes: &[u8]| {
        pki.handle_sync_request(start(), &peer(1).id(), bytes)
            .is_some()
    };
    assert!(ask(&request(1, 0, EPOCH)) && ask(&request(1, 0, EPOCH + 1)));
    for epoch in [0, EPOCH - 1, EPOCH + 2, u32::MAX] {
        assert!(!ask(&request(1, 0, epoch)));
    }
    assert!(!ask(&request(2, 0, EPOCH)) && !ask(&request(1, 1, EPOCH)));
    assert!(
        ask(&request(1, 0, EPOCH)),
        "nobody was blamed for any of these"
    );
    assert!(!ask(&[]) && !ask(&request(1, 0, EPOCH)), "but for garbage");
}

struct NoItems;

impl Items for NoItems {
    fn keys(&self) -> &[crate::reconcile::Key] {
        &[]
    }
    fn write(&self, _: &crate::reconcile::Key, _: &mut Vec<u8>) {}
    fn key_of(&self, _: &[u8]) -> Option<crate::reconcile::Key> {
        None
    }
    fn refuses(&self, _: &crate::reconcile::Key) -> bool {
        false
    }
}
