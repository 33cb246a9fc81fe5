//! Tests of the replay set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::sphinx::testkit::rng;

proptest! {
    /// Against an ordinary set. Few distinct bytes make tags meet often, in value and in place.
    #[test]
    fn it_is_exact(tags in proptest::collection::vec((0u8..40, 0u8..3), 0..400), cap in 0usize..60, seed: u64) {
        let mut set = ReplaySet::new(cap, &mut rng(seed));
        let mut model = BTreeSet::new();
        for (low, high) in tags {
            let mut tag = [0; 16];
            (tag[0], tag[15]) = (low, high);
            let wanted = if model.contains(&tag) {
                Seen::Again
            } else if model.len() >= cap {
                Seen::Full
            } else {
                model.insert(tag);
                Seen::New
            };
            prop_assert_eq!(set.insert(tag), wanted);
            prop_assert_eq!(set.len(), model.len());
        }
    }
}

#[test]
fn a_full_set_forgets_nothing_and_takes_nothing() {
    let mut rng = rng(1);
    let mut set = ReplaySet::new(5_000, &mut rng);
    let mut tags = Vec::new();
    for _ in 0..15_000 {
        let mut tag = [0; 16];
        rng.fill_bytes(&mut tag);
        let wanted = if tags.len() < 5_000 {
            Seen::New
        } else {
            Seen::Full
        };
        assert_eq!(set.insert(tag), wanted);
        if wanted == Seen::New {
            tags.push(tag);
        }
    }
    assert!(tags.iter().all(|&tag| set.insert(tag) == Seen::Again));
    assert_eq!((set.len(), set.insert([0; 16])), (5_000, Seen::Full));
}

#[test]
fn room_made_in_advance_is_kept_and_bounded() {
    let mut rng = rng(2);
    let mut set = ReplaySet::new(30_000, &mut rng);
    let slots = |set: &ReplaySet| set.shards.iter().map(|s| s.slots.len()).sum::<usize>();
    set.insert([1; 16]);
    set.reserve(usize::MAX);
    let reserved = slots(&set);
    assert_eq!(reserved, 2_048 * SHARDS);
    assert_eq!(set.insert([1; 16]), Seen::Again);
    for n in 0..29_999u64 {
        let mut tag = [0xff; 16];
        tag[..8].copy_from_slice(&n.to_le_bytes());
        assert_eq!(set.insert(tag), Seen::New);
    }
    assert_eq!(slots(&set), reserved, "no growth after the reservation");
    assert_eq!(set.insert([2; 16]), Seen::Full);
}

#[test]
fn a_set_grows_a_part_at_a_time() {
    let mut rng = rng(3);
    let mut set = ReplaySet::new(1 << 16, &mut rng);
    let slots = |set: &ReplaySet| set.shards.each_ref().map(|shard| shard.slots.len());
    let mut before = slots(&set);
    for n in 0..1u64 << 16 {
        let mut tag = [7; 16];
        tag[..8].copy_from_slice(&n.to_le_bytes());
        assert_eq!(set.insert(tag), Seen::New);
        let after = slots(&set);
        let grown = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        assert!(grown <= 1, "one insertion grew {grown} parts");
        before = after;
    }
    for shard in &set.shards {
        let bytes = 16 * shard.slots.len() / shard.len;
        assert!((32..=64).contains(&bytes), "{bytes} bytes a tag");
    }
}

#[test]
fn no_room_is_made_for_nothing_and_none_is_taken_back() {
    let slots = |set: &ReplaySet| set.shards.iter().map(|s| s.slots.len()).sum::<usize>();
    let mut none = ReplaySet::new(0, &mut rng(4));
    none.reserve(usize::MAX);
    assert_eq!((slots(&none), none.insert([1; 16])), (0, Seen::Full));
    assert_eq!(none.insert([0; 16]), Seen::Full, "the zero tag counts too");

    let mut boundless = ReplaySet::new(usize::MAX, &mut rng(5));
    boundless.reserve(0);
    assert_eq!(slots(&boundless), 0);
    boundless.reserve(1);
    assert_eq!(slots(&boundless), SMALLEST * SHARDS);
    boundless.reserve(10_000);
    let reserved = slots(&boundless);
    boundless.reserve(1);
    assert_eq!(slots(&boundless), reserved);
    assert_eq!(boundless.insert([0; 16]), Seen::New);
    assert_eq!(boundless.insert([0; 16]), Seen::Again);
    assert_eq!((boundless.len(), boundless.is_empty()), (1, false));
}
