//! Tests of directories with a past: ages, weights, bans, candidates, and proofs about one node.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::{
    descriptor::{Capability, Descriptor},
    directory::Inclusion,
    epoch,
    testing::{TestNode, nodes},
};
use proptest::prelude::*;

const SEED: [u8; 32] = [5; 32];

/// A network in which nodes must grow up.
fn strict() -> Arc<NetworkParams> {
    Arc::new(NetworkParams {
        maturity: 2,
        genesis_ms: 1_800_000_000_000,
        ..NetworkParams::local()
    })
}

fn build(nodes: &[TestNode], epoch: u32, basis: &Basis) -> Arc<Directory> {
    let params = &nodes[0].params;
    let records = nodes.iter().map(|node| node.records(epoch));
    Arc::new(Directory::build_on(params, epoch, SEED, records, basis))
}

fn on(certified: &Arc<Directory>) -> Basis {
    Basis {
        certified: Some(certified.clone()),
        ..Default::default()
    }
}

fn age(directory: &Directory, node: &TestNode) -> u8 {
    directory.by_short(&node.short()).unwrap().standing().age
}

#[test]
fn everyone_counts_as_grown_up_at_genesis_and_newcomers_age_after_it() {
    let all = nodes(&strict(), 4);
    let (old, new) = (&all[0], &all[3]);
    let mut set = build(&all[..3], 0, &Basis::default());
    assert_eq!(age(&set, old), MAX_AGE);
    for e in 1..12 {
        set = build(&all[..3], e, &on(&set));
        assert_eq!(age(&set, old), MAX_AGE, "epoch {e}");
    }
    // Two certified epochs to be a hop, twelve to hold mailboxes and witness.
    for years in 0..18u8 {
        set = build(&all, 12 + u32::from(years), &on(&set));
        assert_eq!(
            (age(&set, old), age(&set, new)),
            (MAX_AGE, years.min(MAX_AGE))
        );
        let entry = set.by_short(&new.short()).unwrap();
        assert_eq!(entry.capability().weight(), u8::from(years >= 2));
        assert_eq!(entry.capability().holder(), years >= 12);
        let witnesses = set.next_candidates().by_short(&new.short()).is_some();
        assert_eq!(witnesses, years >= 12, "age {years}");
    }
    // Who was away once starts again.
    let away = build(&all[..3], 30, &on(&set));
    assert_eq!(age(&build(&all, 31, &on(&away)), new), 0);
}

#[test]
fn ages_do_not_grow_without_certificates() {
    let all = nodes(&strict(), 2);
    let first = build(&all[..1], 20, &Basis::default());
    let certified = build(&all, 21, &on(&first));
    for e in 22..30 {
        // All of these follow the same certified directory.
        assert_eq!(age(&build(&all, e, &on(&certified)), &all[1]), 1);
    }
}

#[test]
fn a_new_vrf_key_makes_a_node_young() {
    let all = nodes(&strict(), 2);
    let before = build(&all, 20, &Basis::default());
    let start = epoch::start_of(&strict(), 21);
    let changed = |key: [u8; 32]| {
        let mut fields = all[0].fields(start, 2);
        fields.vrf_key = key;
        let descriptor = Descriptor::sign(&all[0].network, &all[0].key, fields).unwrap();
        let records = [(descriptor, all[0].beat(21, 0)), all[1].records(21)];
        Directory::build_on(&strict(), 21, SEED, records, &on(&before))
    };
    let same = all[0].vrf().public().to_bytes();
    assert_eq!(age(&changed(same), &all[0]), MAX_AGE);
    let set = changed(all[1].vrf().public().to_bytes());
    assert_eq!(age(&set, &all[0]), 0);
    assert_eq!(
        set.by_short(&all[0].short()).unwrap().capability().weight(),
        0
    );
}

#[test]
fn the_past_is_in_the_header() {
    let all = nodes(&strict(), 6);
    let first = build(&all, 0, &Basis::default());
    let offence = Offence {
        culprit: all[2].short(),
        epoch: 0,
    };
    let after = |faults: &[Offence], certificate| {
        let faults = faults.iter().copied();
        Basis::after(&strict(), 1, Some(first.clone()), faults, certificate)
    };
    let plain = build(&all, 1, &after(&[], [1; 32]));
    assert_eq!(plain.header().previous_certificate, [1; 32]);
    assert_eq!(plain.header().bans, Bans::default().hash());
    assert_eq!(
        plain.header().next_committee,
        plain.next_candidates().hash()
    );
    assert!(!plain.degraded());
    assert_ne!(plain.root(), build(&all, 1, &after(&[], [2; 32])).root());
    let banning = build(&all, 1, &after(&[offence], [1; 32]));
    assert_eq!((plain.len(), banning.len()), (6, 5));
    assert!(banning.by_short(&all[2].short()).is_none());
    // The next list follows from this one: nobody has to know the proof again.
    let next = Basis::after(&strict(), 2, Some(banning), [], [3; 32]);
    assert!(next.bans.contains(&all[2].short()));
    assert_eq!(build(&all, 2, &next).len(), 5);
}

#[test]
fn union_mode_grants_what_is_declared() {
    let mut all = nodes(&strict(), 3);
    all[1].capability = Capability::STRONG;
    let records = all.iter().map(|node| node.records(7));
    let set = Directory::build(&strict(), 7, SEED, records);
    let entry = set.by_short(&all[1].short()).unwrap();
    assert_eq!(entry.standing().capability, Capability::STRONG);
    assert_eq!(entry.standing().age, MAX_AGE);
    assert!(set.degraded() && set.next_candidates().is_empty());
    assert_eq!(set.header().next_committee, [0; 32]);
}

#[test]
fn everyone_is_proved_to_be_there_and_strangers_not_to_be() {
    for count in [1, 2, 5, 9] {
        let all = nodes(&strict(), count + 3);
        let set = build(&all[..count as usize], 3, &Basis::default());
        let other = build(&all[..count as usize], 4, &Basis::default());
        for (i, node) in all.iter().enumerate() {
            let short = node.short();
            let there = i < count as usize;
            let (inclusion, absence) = (set.prove_inclusion(&short), set.prove_absence(&short));
            assert_eq!((inclusion.is_some(), absence.is_none()), (there, there));
            if let Some(proof) = inclusion {
                assert!(proof.verify(set.header()) && !proof.verify(other.header()));
                assert_eq!(proof.leaf.short, short);
                let mut moved = proof.clone();
                moved.index += 1;
                assert!(!moved.verify(set.header()));
                assert_eq!(Inclusion::decode(&proof.encode()), Ok(proof));
            }
            if let Some(proof) = absence {
                assert!(proof.verify(set.header(), &short));
                assert!(!proof.verify(other.header(), &short));
                assert!(
                    all[..count as usize]
                        .iter()
                        .all(|node| !proof.verify(set.header(), &node.short()))
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    /// Honest nodes that know the same compute the same header, in whatever order they learned it.
    #[test]
    fn the_same_past_and_records_make_the_same_header(
        order in Just((0..12u32).collect::<Vec<_>>()).prop_shuffle(),
        guilty in proptest::collection::vec((0usize..12, 18u32..21), 0..4),
    ) {
        let all = nodes(&strict(), 12);
        let certified = build(&all[..9], 19, &Basis::default());
        let faults: Vec<_> = guilty
            .iter()
            .map(|(i, epoch)| Offence { culprit: all[*i].short(), epoch: *epoch })
            .collect();
        let basis = |faults: Vec<Offence>| Basis::after(&strict(), 20, Some(certified.clone()), faults, [7; 32]);
        let one = build(&all, 20, &basis(faults.clone()));
        let shuffled: Vec<_> = order.iter().map(|i| all[*i as usize].clone()).collect();
        let mut doubled = faults.clone();
        doubled.extend(faults.iter().rev().copied());
        let two = build(&shuffled, 20, &basis(doubled));
        prop_assert_eq!(one.header(), two.header());
        prop_assert_eq!(one.next_candidates(), two.next_candidates());
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 87..300)) {
        let mut bytes = bytes;
        bytes[52] &= 7;
        bytes[53] &= 31;
        bytes[86] = ((bytes.len() - 87) / 32) as u8;
        if let Ok(proof) = Inclusion::decode(&bytes) {
            prop_assert_eq!(proof.encode(), bytes);
        }
    }
}
