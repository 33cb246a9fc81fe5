//! Tests of the keyring.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::sphinx::testkit::rng;

/// Epoch e lasts from 60e to 60e + 60; its key serves from 5 before to 15 after.
fn key(epoch: u32) -> EpochKey {
    let starts = u64::from(epoch) * 60;
    EpochKey {
        epoch,
        usable_from: Moment(starts - 5),
        starts: Moment(starts),
        usable_until: Moment(starts + 75),
        secret: MixSecret::random(&mut rng(epoch.into())),
    }
}

fn ring(epochs: &[u32]) -> KeyRing {
    let mut ring = KeyRing::new(4, 0);
    for &epoch in epochs {
        ring.add(key(epoch), [], &mut rng(0)).unwrap();
    }
    ring
}

#[test]
fn the_current_key_is_tried_first_then_the_other_usable_ones() {
    let ring = ring(&[3, 1, 2]);
    let epochs = |now| {
        ring.keys()
            .usable(Moment(now))
            .iter()
            .flatten()
            .map(|key| key.epoch)
            .collect::<Vec<_>>()
    };
    assert_eq!(epochs(54), Vec::<u32>::new());
    assert_eq!(epochs(55), [1], "usable before its epoch");
    assert_eq!(epochs(114), [1]);
    assert_eq!(
        epochs(115),
        [1, 2],
        "the next key comes second until its epoch starts"
    );
    assert_eq!(epochs(120), [2, 1]);
    assert_eq!(epochs(134), [2, 1]);
    assert_eq!(epochs(135), [2], "the end of its time is not part of it");
    assert_eq!(epochs(1_000), Vec::<u32>::new());
}

#[test]
fn an_epoch_has_one_key_ever() {
    let mut ring = ring(&[1, 2]);
    assert_eq!(
        ring.add(key(2), [], &mut rng(0)),
        Err(KeyError::DuplicateEpoch(2))
    );
    assert_eq!(ring.drop_expired(Moment(134)), Vec::<u32>::new());
    assert_eq!(ring.drop_expired(Moment(195)), [1, 2]);
    assert_eq!(
        ring.add(key(2), [], &mut rng(0)),
        Err(KeyError::Erased(2)),
        "it must not come back without its tags"
    );
    assert_eq!(ring.add(key(1), [], &mut rng(0)), Err(KeyError::Erased(1)));
    ring.add(key(3), [], &mut rng(0)).unwrap();
    assert_eq!(ring.epochs().collect::<Vec<_>>(), [3]);
}

#[test]
fn a_key_that_is_erased_is_erased_in_every_copy_of_the_keys() {
    let mut ring = ring(&[1, 2]);
    let copy = ring.keys().clone();
    let usable = |now| copy.usable(Moment(now)).iter().flatten().count();
    assert_eq!(usable(120), 2);
    let in_use = copy.usable(Moment(120))[1].clone().unwrap();
    let key = Arc::downgrade(&in_use);
    ring.drop_expired(Moment(135));
    assert_eq!(usable(134), 2, "work that runs ends with its key");
    drop(in_use);
    assert_eq!(usable(134), 1, "even if asked for a moment of its time");
    assert_eq!(key.strong_count(), 0);
}

#[test]
fn there_is_room_for_four_keys() {
    let mut ring = ring(&[1, 2, 3, 4]);
    assert_eq!(ring.keys().usable(Moment(240)).iter().flatten().count(), 2);
    assert_eq!(
        ring.add(key(5), [], &mut rng(0)),
        Err(KeyError::TooManyKeys)
    );
}

#[test]
fn tags_belong_to_their_key_and_come_back_with_it() {
    let mut ring = ring(&[1]);
    ring.add(key(2), [[1; 16], [2; 16], [1; 16]], &mut rng(0))
        .unwrap();
    assert_eq!(ring.remember(2, [1; 16]), Some(Seen::Again));
    assert_eq!(
        ring.remember(1, [1; 16]),
        Some(Seen::New),
        "another key, another set"
    );
    assert_eq!(ring.remember(3, [1; 16]), None, "no key, no set");
    let five = (0..5).map(|n| [n; 16]);
    assert_eq!(
        ring.add(key(3), five, &mut rng(0)),
        Err(KeyError::TooManyTags)
    );
    assert_eq!(
        ring.epochs().collect::<Vec<_>>(),
        [1, 2],
        "a key without its tags is not taken"
    );
}

#[test]
fn keys_are_written_and_read_and_never_shown() {
    let key = key(7);
    let read = EpochKey::from_bytes(&key.to_bytes()).unwrap();
    assert_eq!(read.to_bytes(), key.to_bytes());
    assert_eq!(read.public(), key.public());
    insta::assert_snapshot!(format!("{key:?}"), @"EpochKey { epoch: 7, secret: MixSecret(..), .. }");
    let mut zero = *key.to_bytes();
    zero[28..].fill(0);
    assert!(EpochKey::from_bytes(&zero).is_err());
    let mut backwards = *key.to_bytes();
    backwards[4..12].fill(0xff);
    assert!(EpochKey::from_bytes(&backwards).is_err());
}

proptest! {
    #[test]
    fn any_bytes_read_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), EPOCH_KEY_LEN)) {
        let bytes: [u8; EPOCH_KEY_LEN] = bytes.try_into().unwrap();
        if let Ok(key) = EpochKey::from_bytes(&bytes) {
            prop_assert_eq!(*key.to_bytes(), bytes);
        }
    }
}
