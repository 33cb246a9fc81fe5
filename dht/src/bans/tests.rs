//! Tests of the ban list: a rule of what is known, not of when.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use proptest::prelude::*;

const WEEK: u32 = 168;

fn short(n: u8) -> ShortId {
    ShortId([n; 16])
}

fn offence(n: u8, epoch: u32) -> Offence {
    Offence {
        culprit: short(n),
        epoch,
    }
}

/// Nodes below 100 are members.
fn member(short: &ShortId) -> bool {
    short.0[0] < 100
}

fn bans(epoch: u32, offences: &[Offence]) -> Bans {
    Bans::default().next(epoch, WEEK, offences.iter().copied(), member)
}

#[test]
fn a_member_is_out_for_a_week_and_then_back() {
    let first = bans(10, &[offence(1, 10)]);
    assert_eq!(first.until(&short(1)), Some(178));
    let mut list = first;
    for epoch in 11..178 {
        // The same proof again changes nothing.
        list = list.next(epoch, WEEK, [offence(1, 10)], member);
        assert!(list.contains(&short(1)), "epoch {epoch}");
    }
    assert!(list.next(178, WEEK, [offence(1, 10)], member).is_empty());
}

#[test]
fn a_stranger_is_out_of_its_own_epoch_only() {
    assert_eq!(bans(10, &[offence(200, 10)]).until(&short(200)), Some(11));
    assert!(bans(11, &[offence(200, 10)]).is_empty());
}

#[test]
fn a_fault_of_a_later_epoch_does_not_count_yet() {
    assert!(bans(10, &[offence(1, 11)]).is_empty());
    assert!(!bans(11, &[offence(1, 11)]).is_empty());
}

#[test]
fn the_list_is_capped_and_those_that_end_first_give_way() {
    let many = (0..MAX_BANS as u32 + 5).map(|n| {
        let mut culprit = ShortId([0; 16]);
        culprit.0[1..5].copy_from_slice(&n.to_be_bytes());
        Offence {
            culprit,
            epoch: 100 + u32::from(n >= 10),
        }
    });
    let list = Bans::default().next(110, WEEK, many, member);
    assert_eq!(list.len(), MAX_BANS);
    let early = list.iter().filter(|(_, until)| *until == 100 + WEEK);
    assert_eq!(early.count(), 5);
    assert!(list.encode().len() <= MAX_BANS_LEN);
    assert_eq!(Bans::decode(&list.encode()).unwrap(), list);
}

#[test]
fn order_and_version_are_checked() {
    let list = bans(5, &[offence(1, 5), offence(2, 5)]);
    let bytes = list.encode();
    let mut swapped = bytes.clone();
    swapped[5..25].copy_from_slice(&bytes[25..45]);
    swapped[25..45].copy_from_slice(&bytes[5..25]);
    assert_eq!(Bans::decode(&swapped), Err(DropReason::Malformed));
    let mut newer = bytes.clone();
    newer[0] = 2;
    assert_eq!(Bans::decode(&newer), Err(DropReason::Version));
    let mut huge = bytes;
    huge[1..5].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Bans::decode(&huge), Err(DropReason::Malformed));
}

#[test]
fn who_is_not_banned_can_be_shown() {
    for n in 0..12u8 {
        let offences: Vec<_> = (0..n).map(|n| offence(3 * n + 1, 5)).collect();
        let list = bans(5, &offences);
        for who in 0..40 {
            match list.prove_absence(&short(who)) {
                Some(proof) => {
                    assert!(proof.verify(&list.hash(), &short(who)));
                    assert!(!proof.verify(&[0; 32], &short(who)));
                    let banned = offences
                        .iter()
                        .find(|offence| !proof.verify(&list.hash(), &offence.culprit));
                    assert_eq!(banned.is_some(), n > 0);
                }
                None => assert!(list.contains(&short(who))),
            }
        }
    }
}

proptest! {
    /// When a fault becomes known doesn't matter: only that it is.
    #[test]
    fn the_list_depends_on_what_is_known_only(
        faults in proptest::collection::vec((0u8..6, 0u32..20), 0..12),
        split in 0usize..12,
    ) {
        let faults: Vec<_> = faults.into_iter().map(|(n, epoch)| offence(n, epoch)).collect();
        let (early, late) = faults.split_at(split.min(faults.len()));
        let at_once = bans(20, &faults);
        let stepwise = bans(19, early).next(20, WEEK, late.iter().copied(), member);
        prop_assert_eq!(&at_once, &stepwise);
        let twice = at_once.next(20, WEEK, faults.iter().rev().copied(), member);
        prop_assert_eq!(&twice, &at_once);
        prop_assert_eq!(twice.hash(), at_once.hash());
    }

    #[test]
    fn garbage_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        if let Some(first) = bytes.first_mut() { *first = VERSION; }
        if let Ok(list) = Bans::decode(&bytes) {
            prop_assert_eq!(list.encode(), bytes.clone());
        }
        let _ = NotBanned::decode(&mut Reader::new(&bytes));
    }

    #[test]
    fn every_entry_is_in_the_hash(n in 1u8..30, flip in any::<proptest::sample::Index>()) {
        let offences: Vec<_> = (0..n).map(|n| offence(n, 5)).collect();
        let list = bans(5, &offences);
        let mut bytes = list.encode();
        let bit = flip.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = Bans::decode(&bytes) {
            prop_assert_ne!(other.hash(), list.hash());
        }
    }
}
