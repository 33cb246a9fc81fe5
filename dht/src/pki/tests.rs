//! Tests of one `Pki`: verdicts, order of arrival, equivocation, epochs, publishing, snapshots. The mesh of many is in `mesh`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::{
    beat::BEAT_LEN,
    bundle::{BundleWriter, MAX_BUNDLE_RECORDS},
    testing::{TestNode, nodes, params, rng},
};
use mix::time::Span;
use proptest::prelude::*;

mod certify;
mod faults;
mod mesh;
mod receipts;
mod rooted;
mod sync;
mod vouching;

const EPOCH: u32 = 5;

fn start() -> Moment {
    epoch::start_of(&params(), EPOCH)
}

fn pki(caps: Caps) -> Pki {
    let own = TestNode::new(&params(), 1_000);
    Pki::new(params(), own.id(), caps, rng(7))
}

fn bundle(records: &[Record<'_>]) -> Vec<u8> {
    let mut writer = BundleWriter::new(Cell::WHOLE, 0);
    for record in records {
        assert!(writer.push(*record));
    }
    writer.finish()
}

/// Descriptor and beats, in this order.
fn introduce(node: &TestNode, now: Moment, beats: &[Beat]) -> Vec<u8> {
    let descriptor = node.descriptor(now, 1);
    let mut records = vec![Record::Descriptor(descriptor.as_bytes())];
    records.extend(beats.iter().map(|beat| Record::Beat(beat.as_bytes())));
    bundle(&records)
}

#[test]
fn what_is_known_costs_no_second_check() {
    let mut pki = pki(Caps::default());
    let node = TestNode::new(&params(), 1);
    let bytes = introduce(&node, start(), &[node.beat(EPOCH, 0)]);
    assert_eq!(pki.handle_bundle(start(), &bytes), Verdict::Accept);
    assert_eq!(pki.counters().verified, 2);
    for _ in 0..10 {
        assert_eq!(pki.handle_bundle(start(), &bytes), Verdict::Ignore);
    }
    assert_eq!((pki.counters().verified, pki.counters().seen), (2, 20));
    assert_eq!(pki.directory(EPOCH).unwrap().len(), 1);
    assert_eq!(pki.known(&node.short()).unwrap().0, node.id());
    assert!(pki.changed() && !pki.changed());
}

#[test]
fn a_beat_before_its_descriptor_waits_and_asks() {
    let mut pki = pki(Caps::default());
    let node = TestNode::new(&params(), 1);
    pki.handle_timeout(start());
    while pki.poll_lookup().is_some() {}
    pki.handle_lookup_done(start(), &head_key(pki.network(), EPOCH));

    let beat = node.beat(EPOCH, 0);
    assert_eq!(
        pki.handle_bundle(start(), &bundle(&[Record::Beat(beat.as_bytes())])),
        Verdict::Ignore
    );
    assert!(pki.directory(EPOCH).is_none());
    let due = pki.poll_timeout().unwrap();
    assert!(due <= start() + Span::from_secs(2), "asks soon");
    pki.handle_timeout(due);
    assert_eq!(pki.poll_lookup(), Some(head_key(pki.network(), EPOCH)));

    // The descriptor alone completes it, and what gossip could not forward then is sent onwards now.
    let descriptor = node.descriptor(start(), 1);
    let alone = bundle(&[Record::Descriptor(descriptor.as_bytes())]);
    assert_eq!(pki.handle_bundle(due, &alone), Verdict::Accept);
    assert_eq!(pki.directory(EPOCH).unwrap().len(), 1);
    pki.handle_timeout(due + Span::from_secs(1));
    let onwards = pki.poll_bundle().unwrap();
    let (_, records) = bundle::decode(&onwards).unwrap();
    assert!(records.contains(&Record::Beat(beat.as_bytes())));
}

#[test]
fn a_forged_parked_beat_does_not_keep_out_the_real_one() {
    let mut pki = pki(Caps::default());
    let node = TestNode::new(&params(), 1);
    let mut forged = *node.beat(EPOCH, 1).as_bytes();
    forged[BEAT_LEN - 1] ^= 1;
    pki.handle_bundle(start(), &bundle(&[Record::Beat(&forged)]));
    let real = node.beat(EPOCH, 0);
    pki.handle_bundle(start(), &bundle(&[Record::Beat(real.as_bytes())]));
    pki.handle_bundle(start(), &introduce(&node, start(), &[]));
    assert_eq!(pki.counters().dropped(DropReason::Signature), 1);
    let directory = pki.directory(EPOCH).unwrap();
    assert_eq!(directory.by_short(&node.short()).unwrap().beat(), &real);
}

#[test]
fn a_second_beat_is_counted_and_bans_its_signer() {
    let mut pki = pki(Caps::default());
    let (node, other) = (TestNode::new(&params(), 1), TestNode::new(&params(), 2));
    for node in [&node, &other] {
        pki.handle_bundle(start(), &introduce(node, start(), &[node.beat(EPOCH, 0)]));
    }
    for variant in 1..20 {
        let second = bundle(&[Record::Beat(node.beat(EPOCH, variant).as_bytes())]);
        assert_eq!(pki.handle_bundle(start(), &second), Verdict::Ignore);
    }
    assert_eq!(pki.counters().dropped(DropReason::Equivocation), 19);
    assert_eq!(
        pki.counters().verified,
        5,
        "after the first proof no more signatures of this id are checked"
    );
    assert_eq!(pki.counters().faults, 1);
    let set = pki.directory(EPOCH).unwrap();
    assert!(set.by_short(&node.short()).is_none() && set.by_short(&other.short()).is_some());
}

#[test]
fn forgeries_are_rejected_and_honest_oddities_only_ignored() {
    let mut pki = pki(Caps::default());
    let (node, thief) = (TestNode::new(&params(), 1), TestNode::new(&params(), 2));
    pki.handle_bundle(start(), &introduce(&node, start(), &[]));
    let mut stolen = *thief.beat(EPOCH, 0).as_bytes();
    stolen[5..21].copy_from_slice(&node.short().0);
    assert_eq!(
        pki.handle_bundle(start(), &bundle(&[Record::Beat(&stolen)])),
        Verdict::Reject
    );
    assert_eq!(pki.handle_bundle(start(), b"\x01garbage"), Verdict::Reject);
    let mut bad_key = *node.beat(EPOCH, 0).as_bytes();
    bad_key[21..53].fill(0);
    assert_eq!(
        pki.handle_bundle(start(), &bundle(&[Record::Beat(&bad_key)])),
        Verdict::Reject
    );
    // Another version, another cell, another epoch, an expired or future descriptor: nobody's fault.
    assert_eq!(pki.handle_bundle(start(), &[2, 0, 0]), Verdict::Ignore);
    let mut cell = introduce(&thief, start(), &[]);
    cell[1] = 1;
    assert_eq!(pki.handle_bundle(start(), &cell), Verdict::Ignore);
    for epoch in [0, EPOCH - 1, EPOCH + 1, EPOCH + 2, u32::MAX] {
        let early = bundle(&[Record::Beat(node.beat(epoch, 0).as_bytes())]);
        assert_eq!(
            pki.handle_bundle(start(), &early),
            Verdict::Ignore,
            "epoch {epoch}"
        );
    }
    let day = Span::from_secs(24 * 3_600);
    for from in [start() - day - day, start() + day] {
        assert_eq!(
            pki.handle_bundle(start(), &introduce(&thief, from, &[])),
            Verdict::Ignore
        );
    }
    assert!(pki.directory(EPOCH).is_none());
    let counters = pki.counters();
    assert_eq!(counters.dropped(DropReason::Epoch), 5);
    assert_eq!(counters.dropped(DropReason::Validity), 2);
    assert_eq!(
        (
            counters.dropped(DropReason::Version),
            counters.dropped(DropReason::Network)
        ),
        (1, 1)
    );
}

#[test]
fn a_record_of_another_network_is_rejected() {
    let other = Arc::new(NetworkParams {
        name: "other".into(),
        ..(*params()).clone()
    });
    let stranger = TestNode::new(&other, 1);
    let mut pki = pki(Caps::default());
    let bytes = introduce(&stranger, start(), &[]);
    assert_eq!(pki.handle_bundle(start(), &bytes), Verdict::Reject);
}

#[test]
fn the_next_epoch_is_collected_ahead_and_old_ones_are_pruned() {
    let mut pki = pki(Caps::default());
    let node = TestNode::new(&params(), 1);
    let ahead = epoch::beat_window(&params(), EPOCH + 1).from;
    pki.handle_bundle(
        ahead,
        &introduce(
            &node,
            start(),
            &[node.beat(EPOCH, 0), node.beat(EPOCH + 1, 0)],
        ),
    );
    assert!(pki.directory(EPOCH).is_some() && pki.directory(EPOCH + 1).is_some());
    let at = |e: u32| epoch::start_of(&params(), e);
    pki.handle_timeout(at(EPOCH + 1));
    assert!(pki.directory(EPOCH).is_some(), "the previous epoch stays");
    assert!(pki.directory(EPOCH + 1).is_some());
    pki.handle_timeout(at(EPOCH + 2));
    assert!(pki.directory(EPOCH).is_none());
    pki.handle_timeout(at(EPOCH + 3));
    assert!(pki.directory(EPOCH + 1).is_none());
    assert!(
        pki.known(&node.short()).is_some(),
        "its descriptor still names it"
    );
    pki.handle_timeout(at(EPOCH + 3) + Span::from_secs(25 * 3_600));
    assert!(pki.known(&node.short()).is_none(), "until it has expired");
}

#[test]
fn a_set_that_is_over_no_longer_changes() {
    let mut pki = pki(Caps::default());
    let node = TestNode::new(&params(), 1);
    pki.handle_bundle(start(), &introduce(&node, start(), &[node.beat(EPOCH, 0)]));
    let root = pki.directory(EPOCH).unwrap().root();
    let later = epoch::start_of(&params(), EPOCH + 1) + Span::from_secs(10);
    let renewed = node.descriptor(later, 2);
    assert_eq!(
        pki.handle_bundle(later, &bundle(&[Record::Descriptor(renewed.as_bytes())])),
        Verdict::Accept
    );
    assert_eq!(pki.directory(EPOCH).unwrap().root(), root);
    let late = bundle(&[Record::Beat(
        TestNode::new(&params(), 2).beat(EPOCH, 0).as_bytes(),
    )]);
    assert_eq!(pki.handle_bundle(later, &late), Verdict::Ignore);
}

#[test]
fn the_newest_descriptor_counts_within_a_budget_of_changes() {
    let mut pki = pki(Caps {
        changes_per_epoch: 2,
        ..Caps::default()
    });
    let node = TestNode::new(&params(), 1);
    let send = |pki: &mut Pki, now: Moment, seq: u64| {
        pki.handle_bundle(
            now,
            &bundle(&[Record::Descriptor(node.descriptor(start(), seq).as_bytes())]),
        )
    };
    assert_eq!(send(&mut pki, start(), 5), Verdict::Accept);
    assert_eq!(send(&mut pki, start(), 4), Verdict::Ignore);
    assert_eq!(send(&mut pki, start(), 6), Verdict::Accept);
    assert_eq!(send(&mut pki, start(), 7), Verdict::Accept);
    assert_eq!(send(&mut pki, start(), 8), Verdict::Ignore);
    assert_eq!(pki.counters().dropped(DropReason::Churn), 1);
    assert_eq!(pki.counters().dropped(DropReason::Outdated), 1);
    assert_eq!(
        send(&mut pki, epoch::start_of(&params(), EPOCH + 1), 8),
        Verdict::Accept
    );
}

#[test]
fn two_descriptors_of_one_seq_end_the_same_everywhere() {
    let node = TestNode::new(&params(), 1);
    let a = node.descriptor(start(), 1);
    let b = node.descriptor(start() - Span::from_secs(1), 1);
    let held: Vec<_> = [[&a, &b], [&b, &a]]
        .iter()
        .map(|order| {
            let mut pki = pki(Caps::default());
            for descriptor in order {
                pki.handle_bundle(
                    start(),
                    &bundle(&[Record::Descriptor(descriptor.as_bytes())]),
                );
            }
            pki.store.descriptor(&node.short()).unwrap().hash()
        })
        .collect();
    assert_eq!(held[0], held[1]);
}

#[test]
fn at_the_cap_idle_nodes_give_way_and_busy_ones_stay() {
    let mut pki = pki(Caps {
        nodes: 10,
        ..Caps::default()
    });
    let all = nodes(&params(), 40);
    for node in &all[..5] {
        pki.handle_bundle(start(), &introduce(node, start(), &[node.beat(EPOCH, 0)]));
    }
    // Thirty descriptors without beats: they push out each other, never those who beat.
    for node in &all[5..35] {
        assert_eq!(
            pki.handle_bundle(start(), &introduce(node, start(), &[])),
            Verdict::Accept
        );
        assert!(pki.store.descriptors().count() <= 10);
    }
    assert_eq!(pki.directory(EPOCH).unwrap().len(), 5);
    assert!(pki.known(&all[5].short()).is_none() && pki.known(&all[34].short()).is_some());
    // Full of busy nodes: a newcomer is refused.
    for node in &all[30..35] {
        pki.handle_bundle(start(), &introduce(node, start(), &[node.beat(EPOCH, 0)]));
    }
    assert_eq!(
        pki.handle_bundle(start(), &introduce(&all[39], start(), &[])),
        Verdict::Ignore
    );
    assert_eq!(pki.counters().dropped(DropReason::Full), 1);
    assert_eq!(pki.directory(EPOCH).unwrap().len(), 10);
}

#[test]
fn a_flood_of_strangers_beats_stays_within_the_cap() {
    let mut pki = pki(Caps {
        parked: 100,
        ..Caps::default()
    });
    for n in 0..2_000u32 {
        let mut bytes = [1; BEAT_LEN];
        bytes[1..5].copy_from_slice(&EPOCH.to_le_bytes());
        bytes[5..9].copy_from_slice(&n.to_le_bytes());
        assert_eq!(
            pki.handle_bundle(start(), &bundle(&[Record::Beat(&bytes)])),
            Verdict::Ignore
        );
    }
    assert_eq!(pki.counters().verified, 0);
    let mut asked = 0;
    let mut now = start();
    while now < start() + Span::from_secs(10) {
        pki.handle_timeout(now);
        while let Some(key) = pki.poll_lookup() {
            asked += 1;
            pki.handle_lookup_done(now, &key);
        }
        now = pki.poll_timeout().unwrap();
    }
    assert!(
        (1..=8).contains(&asked),
        "lookups don't follow the flood: {asked} in 10 s"
    );
}

#[test]
fn own_records_must_be_ours_in_order_and_unique() {
    let own = TestNode::new(&params(), 1_000);
    let other = TestNode::new(&params(), 1);
    let mut pki = pki(Caps::default());
    let publish_beat = |pki: &mut Pki, beat: Beat| pki.publish(start(), OwnRecord::Beat(beat));
    assert_eq!(
        publish_beat(&mut pki, own.beat(EPOCH, 0)),
        Err(PublishError::NoDescriptor)
    );
    let foreign = OwnRecord::Descriptor(other.descriptor(start(), 1));
    assert_eq!(pki.publish(start(), foreign), Err(PublishError::NotOurs));
    pki.publish(start(), OwnRecord::Descriptor(own.descriptor(start(), 2)))
        .unwrap();
    let older = OwnRecord::Descriptor(own.descriptor(start(), 1));
    assert_eq!(pki.publish(start(), older), Err(PublishError::Descriptor));
    assert_eq!(
        publish_beat(&mut pki, other.beat(EPOCH, 0)),
        Err(PublishError::NotOurs)
    );
    assert_eq!(
        publish_beat(&mut pki, own.beat(EPOCH + 3, 0)),
        Err(PublishError::Epoch(EPOCH + 3))
    );
    publish_beat(&mut pki, own.beat(EPOCH, 0)).unwrap();
    publish_beat(&mut pki, own.beat(EPOCH, 0)).unwrap();
    assert_eq!(
        publish_beat(&mut pki, own.beat(EPOCH, 1)),
        Err(PublishError::SecondBeat(EPOCH))
    );
    assert_eq!(pki.directory(EPOCH).unwrap().len(), 1);
    assert!(pki.own_beat(EPOCH).is_some());
}

#[test]
fn a_beat_from_before_a_lost_state_forbids_another() {
    let own = TestNode::new(&params(), 1_000);
    let mut pki = pki(Caps::default());
    pki.handle_bundle(
        start(),
        &bundle(&[Record::Beat(own.beat(EPOCH, 0).as_bytes())]),
    );
    assert!(
        pki.own_beat(EPOCH).is_none(),
        "unchecked while our descriptor isn't known"
    );
    pki.publish(start(), OwnRecord::Descriptor(own.descriptor(start(), 1)))
        .unwrap();
    assert!(pki.own_beat(EPOCH).is_some());
    let second = OwnRecord::Beat(own.beat(EPOCH, 1));
    assert_eq!(
        pki.publish(start(), second),
        Err(PublishError::SecondBeat(EPOCH))
    );
}

#[test]
fn own_records_are_repeated_in_new_messages_and_then_rest() {
    let own = TestNode::new(&params(), 1_000);
    let mut pki = pki(Caps::default());
    pki.publish(start(), OwnRecord::Descriptor(own.descriptor(start(), 1)))
        .unwrap();
    pki.publish(start(), OwnRecord::Beat(own.beat(EPOCH, 0)))
        .unwrap();
    let (mut now, mut sent) = (start(), Vec::new());
    while now < start() + Span::from_secs(55) {
        pki.handle_timeout(now);
        while let Some(bytes) = pki.poll_bundle() {
            let (_, records) = bundle::decode(&bytes).unwrap();
            assert_eq!(records.len(), 2);
            sent.push(bytes);
        }
        now = pki.poll_timeout().unwrap();
    }
    assert!((4..=6).contains(&sent.len()), "{}", sent.len());
    let count = sent.len();
    sent.sort();
    sent.dedup();
    assert_eq!(sent.len(), count, "each is a new gossip message");
}

#[test]
fn what_is_served_is_the_view_and_follows_it_with_a_pause() {
    let mut pki = pki(Caps::default());
    let all = nodes(&params(), 30);
    for node in &all[..29] {
        pki.handle_bundle(start(), &introduce(node, start(), &[node.beat(EPOCH, 0)]));
    }
    pki.handle_timeout(start());
    let served: Vec<_> = std::iter::from_fn(|| pki.poll_serve()).collect();
    let directory = pki.directory(EPOCH).unwrap();
    assert_eq!(
        served.len(),
        5,
        "two pages of records, two of leaves, the head"
    );
    let head = Head::decode(&served[4].1).unwrap();
    assert_eq!(
        (served[4].0, head.header.root()),
        (head_key(pki.network(), EPOCH), directory.root())
    );
    for (key, bytes) in &served[..4] {
        let page = Page::decode(bytes).unwrap();
        assert!(page.key() == *key && page.verify(&head.header));
    }
    // A change: not at once, but soon, and once. That somebody built the directory meanwhile makes no difference.
    pki.handle_bundle(
        start(),
        &introduce(&all[29], start(), &[all[29].beat(EPOCH, 0)]),
    );
    pki.directory(EPOCH).unwrap();
    pki.handle_timeout(start());
    assert!(pki.poll_serve().is_none());
    let mut now = start();
    let mut heads = 0;
    while now < start() + Span::from_secs(5) {
        now = pki.poll_timeout().unwrap();
        pki.handle_timeout(now);
        heads += std::iter::from_fn(|| pki.poll_serve())
            .filter(|(key, _)| *key == served[4].0)
            .count();
    }
    assert_eq!(heads, 1);
}

#[test]
fn a_snapshot_brings_back_what_is_still_valid() {
    let mut pki_a = pki(Caps::default());
    let all = nodes(&params(), 5);
    for node in &all {
        pki_a.handle_bundle(start(), &introduce(node, start(), &[node.beat(EPOCH, 0)]));
    }
    let bytes = pki_a.snapshot();
    let root = pki_a.directory(EPOCH).unwrap().root();

    let mut fresh = pki(Caps::default());
    assert_eq!(fresh.restore(start(), &bytes), Ok(10));
    assert_eq!(fresh.directory(EPOCH).unwrap().root(), root);
    assert_eq!(fresh.peers().count(), 5);

    let mut later = pki(Caps::default());
    assert_eq!(
        later.restore(epoch::start_of(&params(), EPOCH + 4), &bytes),
        Ok(5)
    );
    assert!(later.directory(EPOCH + 4).is_none());
    assert_eq!(
        later.peers().count(),
        5,
        "old beats are gone, peers are known"
    );

    let mut other = pki(Caps::default());
    assert_eq!(
        other.restore(start(), &bytes[..bytes.len() - 1]),
        Err(SnapshotError::Damaged)
    );
    assert_eq!(other.restore(start(), &[]), Err(SnapshotError::Damaged));
    assert_eq!(other.restore(start(), &[9]), Err(SnapshotError::Version(9)));
    let mut wrong = bytes;
    wrong[1] ^= 1;
    assert_eq!(other.restore(start(), &wrong), Err(SnapshotError::Network));
}

#[test]
fn full_bundles_of_64_pass() {
    let mut pki = pki(Caps::default());
    let all = nodes(&params(), MAX_BUNDLE_RECORDS as u32);
    for node in &all {
        pki.handle_bundle(start(), &introduce(node, start(), &[]));
    }
    let beats: Vec<_> = all.iter().map(|node| node.beat(EPOCH, 0)).collect();
    let records: Vec<_> = beats
        .iter()
        .map(|beat| Record::Beat(beat.as_bytes()))
        .collect();
    assert_eq!(
        pki.handle_bundle(start(), &bundle(&records)),
        Verdict::Accept
    );
    assert_eq!(pki.directory(EPOCH).unwrap().len(), 64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_order_ends_at_one_root(order in Just((0..24usize).collect::<Vec<_>>()).prop_shuffle()) {
        let all = nodes(&params(), 8);
        let mut records = Vec::new();
        for node in &all {
            let first = node.descriptor(start(), 1);
            records.push(bundle(&[Record::Descriptor(first.as_bytes())]));
            records.push(bundle(&[Record::Descriptor(node.descriptor(start(), 2).as_bytes())]));
            records.push(bundle(&[Record::Beat(node.beat(EPOCH, 0).as_bytes())]));
        }
        let root = |order: &[usize]| {
            let mut pki = pki(Caps::default());
            for at in order {
                pki.handle_bundle(start(), &records[*at]);
            }
            pki.directory(EPOCH).unwrap().root()
        };
        prop_assert_eq!(root(&order), root(&(0..24).collect::<Vec<_>>()));
    }

    #[test]
    fn garbage_and_any_clock_never_panic(
        calls in proptest::collection::vec((any::<u64>(), proptest::collection::vec(any::<u8>(), 0..200), 0u8..5), 1..40),
    ) {
        let mut pki = pki(Caps { nodes: 4, parked: 4, ..Caps::default() });
        let node = TestNode::new(&params(), 1);
        for (time, bytes, call) in calls {
            let now = Moment(time);
            match call {
                0 => { pki.handle_bundle(now, &bytes); }
                1 => {
                    let key = pki.poll_lookup().unwrap_or([0; 32]);
                    pki.handle_record(now, &key, &bytes);
                }
                2 => { pki.handle_bundle(now, &introduce(&node, start(), &[node.beat(EPOCH, call)])); }
                3 => { let _ = pki.restore(now, &bytes); }
                _ => pki.handle_timeout(now),
            }
            while pki.poll_serve().is_some() {}
            while pki.poll_bundle().is_some() {}
            let _ = (pki.poll_timeout(), pki.snapshot());
        }
    }
}
