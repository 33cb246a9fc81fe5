//! Tests of reconciliation: any two sets become one, what it costs, and what strangers can make of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::id::derive;
use proptest::prelude::*;

/// Items of 340 B, as a node's two records are; the key is the beginning, so that tests can choose it.
#[derive(Clone, Default, Debug, PartialEq)]
struct Plain {
    keys: Vec<Key>,
    refused: Vec<Key>,
    len: usize,
}

impl Plain {
    fn of(keys: impl IntoIterator<Item = Key>) -> Self {
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        Self {
            keys,
            refused: Vec::new(),
            len: 340,
        }
    }

    fn put(&mut self, message: &Message<'_>) -> usize {
        let before = self.keys.len();
        let new = message.items().iter().filter_map(|item| self.key_of(item));
        self.keys.extend(new.collect::<Vec<_>>());
        self.keys.sort_unstable();
        self.keys.dedup();
        self.keys.len() - before
    }
}

impl Items for Plain {
    fn keys(&self) -> &[Key] {
        &self.keys
    }
    fn write(&self, key: &Key, out: &mut Vec<u8>) {
        if holds(self, key) {
            out.extend_from_slice(key);
            out.resize(out.len() + self.len - 16, 7);
        }
    }
    fn key_of(&self, item: &[u8]) -> Option<Key> {
        item.get(..16)?.try_into().ok()
    }
    fn refuses(&self, key: &Key) -> bool {
        self.refused.contains(key)
    }
}

/// A uniform key.
fn key(n: u32) -> Key {
    let hash = derive("murmuration/v1/test", &[&n.to_le_bytes()]);
    hash[..16].try_into().unwrap()
}

fn keys(range: std::ops::Range<u32>) -> impl Iterator<Item = Key> {
    range.map(key)
}

#[derive(Debug, Default, PartialEq)]
struct Cost {
    rounds: u32,
    bytes: usize,
    /// Of these, items.
    items: usize,
}

/// One exchange, through the wire format.
fn exchange(one: &mut Plain, other: &mut Plain, salt: u8) -> Cost {
    let mut session = Session::new([salt; 8]);
    let mut cost = Cost::default();
    while let Some(request) = session.request(one) {
        let asked = Message::decode(&request).unwrap();
        other.put(&asked);
        let response = answer(other, &asked);
        let answered = Message::decode(&response).unwrap();
        session.take(one, &answered).unwrap();
        one.put(&answered);
        cost.bytes += request.len() + response.len();
        cost.items += asked
            .items()
            .iter()
            .chain(answered.items())
            .map(|item| item.len())
            .sum::<usize>();
    }
    cost.rounds = session.rounds();
    cost
}

/// One exchange in which `one` becomes what `other` is, as far as one goes; says what it took and whether it was cut short.
fn mirror(one: &mut Plain, other: &Plain, salt: u8) -> (Cost, bool) {
    let mut session = Session::mirroring([salt; 8]);
    let mut cost = Cost::default();
    while let Some(request) = session.request(one) {
        let asked = Message::decode(&request).unwrap();
        assert!(asked.items().is_empty(), "a mirror gives nothing away");
        let response = answer(other, &asked);
        let answered = Message::decode(&response).unwrap();
        session.take(one, &answered).unwrap();
        let excess = session.take_excess();
        one.keys.retain(|key| !excess.contains(key));
        one.put(&answered);
        cost.bytes += request.len() + response.len();
        cost.items += (answered.items().iter().map(|item| item.len())).sum::<usize>();
    }
    cost.rounds = session.rounds();
    (cost, session.cut_short())
}

fn union(one: &Plain, other: &Plain) -> Plain {
    Plain::of(one.keys.iter().chain(&other.keys).copied())
}

#[test]
fn equal_sets_cost_one_round_of_a_few_hundred_bytes() {
    for n in [0, 1, 31, 32, 1_000, 8_192] {
        let mut one = Plain::of(keys(0..n));
        let cost = exchange(&mut one.clone(), &mut one, 1);
        assert_eq!(cost.rounds, 1);
        assert!(cost.bytes < 300, "{n}: {cost:?}");
    }
}

#[test]
fn the_cost_follows_the_difference() {
    for n in [100, 1_000, 8_192] {
        for difference in [1, 10, 100] {
            // Half of it on either side.
            let mut one = Plain::of(keys(0..n - difference / 2));
            let mut other = Plain::of(keys(difference.div_ceil(2)..n));
            let whole = union(&one, &other);
            let cost = exchange(&mut one, &mut other, 2);
            assert_eq!((&one, &other), (&whole, &whole), "{n}, {difference}");
            let beside = cost.bytes - cost.items;
            assert!(
                beside < 600 + 900 * difference as usize,
                "{n}, {difference}: {cost:?}"
            );
            assert!(cost.rounds <= 24, "{n}, {difference}: {cost:?}");
        }
    }
}

#[test]
fn everything_comes_over_in_few_exchanges() {
    for (ours, theirs) in [(0..0, 0..8_192), (0..4_096, 4_096..8_192), (0..8_192, 0..0)] {
        let (mut one, mut other) = (Plain::of(keys(ours)), Plain::of(keys(theirs)));
        let whole = union(&one, &other);
        let (mut exchanges, mut bytes, mut items) = (0, 0, 0);
        while (&one, &other) != (&whole, &whole) {
            let cost = exchange(&mut one, &mut other, exchanges);
            (bytes, items) = (bytes + cost.bytes, items + cost.items);
            exchanges += 1;
            assert!(exchanges <= 6, "an exchange brings at least 600 of 340 B");
        }
        assert_eq!(items, 8_192 * 340, "nothing twice");
        assert!(bytes - items < items / 3, "{bytes} for {items}");
    }
}

#[test]
fn a_mirror_costs_what_the_difference_costs() {
    for n in [0, 100, 1_000, 8_192] {
        for (lacking, excess) in [(0, 0), (1, 0), (0, 1), (10, 10), (100, 0), (0, 100)] {
            let other = Plain::of(keys(0..n).chain(keys(20_000..20_000 + lacking)));
            let mut one = Plain::of(keys(0..n).chain(keys(30_000..30_000 + excess)));
            let (cost, cut_short) = mirror(&mut one, &other, 4);
            assert_eq!(one, other, "{n}, {lacking}, {excess}");
            assert_eq!((cost.items, cut_short), (lacking as usize * 340, false));
            let beside = cost.bytes - cost.items;
            let difference = (lacking + excess) as usize;
            assert!(
                beside < 600 + 900 * difference,
                "{n}, {difference}: {cost:?}"
            );
            assert!(cost.rounds <= 24, "{n}, {difference}: {cost:?}");
        }
    }
}

#[test]
fn a_mirror_of_everything_takes_a_few_exchanges_and_of_nothing_one() {
    let (mut one, other) = (Plain::of([]), Plain::of(keys(0..8_192)));
    let (mut exchanges, mut items) = (0, 0);
    while one != other {
        let (cost, cut_short) = mirror(&mut one, &other, exchanges);
        items += cost.items;
        exchanges += 1;
        assert_eq!(cut_short, one != other);
        assert!(exchanges <= 6);
    }
    assert_eq!(items, 8_192 * 340, "nothing twice");
    let (cost, _) = mirror(&mut one, &Plain::of([]), 9);
    assert!(one.keys.is_empty());
    assert!(cost.rounds <= 3 && cost.bytes < 1_000, "{cost:?}");
}

#[test]
fn what_is_refused_is_neither_asked_for_nor_asked_about_for_ever() {
    let mut one = Plain::of(keys(0..100));
    let mut other = Plain::of(keys(0..103));
    one.refused = keys(100..103).collect();
    let cost = exchange(&mut one, &mut other, 3);
    assert_eq!(one.keys.len(), 100);
    assert!(cost.rounds <= 4 && cost.items == 0, "{cost:?}");
}

#[test]
fn an_item_that_is_gone_is_asked_for_three_times_at_most() {
    // The other side lists keys that it can't deliver.
    #[derive(Debug)]
    struct Empty(Plain);
    impl Items for Empty {
        fn keys(&self) -> &[Key] {
            &self.0.keys
        }
        fn write(&self, _: &Key, _: &mut Vec<u8>) {}
        fn key_of(&self, item: &[u8]) -> Option<Key> {
            self.0.key_of(item)
        }
        fn refuses(&self, _: &Key) -> bool {
            false
        }
    }
    let one = Plain::of(keys(0..10));
    let other = Empty(Plain::of(keys(0..20)));
    let mut session = Session::new([1; 8]);
    while let Some(request) = session.request(&one) {
        let answer = answer(&other, &Message::decode(&request).unwrap());
        session
            .take(&one, &Message::decode(&answer).unwrap())
            .unwrap();
    }
    assert!(
        session.rounds() <= 3 + u32::from(TRIES),
        "{}",
        session.rounds()
    );
}

#[test]
fn an_answer_of_another_exchange_is_refused() {
    let one = Plain::of(keys(0..40));
    let request = Session::new([1; 8]).request(&one).unwrap();
    let response = answer(&one, &Message::decode(&request).unwrap());
    let mut session = Session::new([2; 8]);
    let decoded = Message::decode(&response).unwrap();
    assert_eq!(session.take(&one, &decoded), Err(DropReason::Unwanted));
    session.request(&one).unwrap();
    assert_eq!(session.take(&one, &decoded), Err(DropReason::Unwanted));
}

#[test]
fn long_lists_are_refused_before_they_are_read() {
    let head = |ranges: u16, tail: &[u8]| {
        let mut bytes = vec![1; 9];
        bytes.extend(ranges.to_le_bytes());
        bytes.extend(tail);
        bytes
    };
    let refused = |bytes: &[u8]| Message::decode(bytes) == Err(DropReason::Malformed);
    assert!(Message::decode(&head(0, &[0; 4])).is_ok());
    assert!(refused(&head(257, &[0; 12_000])));
    assert!(refused(&head(0, &[33, 0, 0, 0])));
    assert!(refused(&head(0, &[0, 0, 129, 0])));
    assert!(refused(&head(0, &[0, 0, 1, 0, 0, 0])), "an empty item");
    assert!(refused(&[1; MAX_MESSAGE + 1]));
    assert_eq!(Message::decode(&[2; 40]), Err(DropReason::Version));
    // A list of more than fits, unsorted keys, keys outside, a bound with a zero at the end, ranges in the wrong order.
    assert!(refused(&head(1, &[2, 0, 0xff, 0xff])));
    let twice = [&[2, 0, 2, 0][..], &[5; 32], &[0; 4]].concat();
    assert!(refused(&head(1, &twice)));
    let outside = [&[2, 1, 5, 1, 0][..], &[5; 16], &[0; 4]].concat();
    assert!(refused(&head(1, &outside)));
    let print = |bounds: &[u8]| [bounds, &[0; 8]].concat();
    assert!(refused(&head(
        1,
        &[&print(&[1, 2, 9, 0])[..], &[0; 4]].concat()
    )));
    let back = [print(&[1, 1, 9]), print(&[1, 1, 8]), vec![0; 4]].concat();
    assert!(refused(&head(2, &back)));
    let beyond = [print(&[1, 0]), print(&[1, 1, 8]), vec![0; 4]].concat();
    assert!(refused(&head(2, &beyond)), "nothing comes after the end");
    let no_gap = [print(&[1, 1, 8]), print(&[0x81, 1, 8, 1, 9]), vec![0; 4]].concat();
    assert!(
        refused(&head(2, &no_gap)),
        "a gap of nothing has another form"
    );
}

/// Keys that crowd together: few distinct bytes, long common beginnings.
fn crowded() -> impl Strategy<Value = Key> {
    (0u8..3, 0u8..3, any::<u8>(), any::<bool>()).prop_map(|(a, b, c, end)| {
        let mut key = [a; 16];
        key[8] = b;
        key[if end { 15 } else { 0 }] = c;
        key
    })
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let range = (
        any::<Key>(),
        any::<bool>(),
        any::<[u8; 8]>(),
        proptest::collection::vec(any::<Key>(), 0..20),
    );
    let ranges = proptest::collection::vec(range, 0..300);
    let wants =
        proptest::collection::vec(prop_oneof![any::<Key>(), (0u32..600).prop_map(key)], 0..40);
    (ranges, wants, any::<bool>()).prop_map(|(mut ranges, wants, tiled)| {
        ranges.sort_by_key(|(until, ..)| *until);
        let mut out = Builder::new([9; 8]);
        let mut behind = [0; 16];
        for (until, list, fingerprint, mut keys) in ranges {
            let from = if tiled {
                behind
            } else {
                [until[0] & 0xf0; 16].max(behind)
            };
            if until <= from {
                continue;
            }
            behind = until;
            keys.retain(|key| *key >= from && *key < until);
            keys.sort_unstable();
            keys.dedup();
            let what = if list {
                What::List(keys)
            } else {
                What::Fingerprint(fingerprint)
            };
            out.range(&Range {
                from,
                until: Some(until),
                what,
            });
        }
        for key in wants {
            out.want(key);
        }
        out.finish()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_two_sets_become_one(n in 0u32..1_500, left in 0u32..300, right in 0u32..300, salt in any::<u8>()) {
        let mut one = Plain::of(keys(0..n).chain(keys(10_000..10_000 + left)));
        let mut other = Plain::of(keys(0..n).chain(keys(20_000..20_000 + right)));
        let whole = union(&one, &other);
        let cost = exchange(&mut one, &mut other, salt);
        prop_assert!(one == whole && other == whole, "{:?}", cost);
        prop_assert!(cost.rounds < MAX_ROUNDS);
        prop_assert_eq!(cost.items, (left + right) as usize * 340);
    }

    #[test]
    fn crowded_keys_become_one_too(
        one in proptest::collection::vec(crowded(), 0..400),
        other in proptest::collection::vec(crowded(), 0..400),
    ) {
        let (mut one, mut other) = (Plain::of(one), Plain::of(other));
        let whole = union(&one, &other);
        let cost = exchange(&mut one, &mut other, 1);
        prop_assert!(one == whole && other == whole, "{:?}", cost);
    }

    #[test]
    fn any_set_becomes_a_mirror_of_any_other(n in 0u32..1_500, lacking in 0u32..300, excess in 0u32..300, salt in any::<u8>()) {
        let mut one = Plain::of(keys(0..n).chain(keys(10_000..10_000 + excess)));
        let other = Plain::of(keys(0..n).chain(keys(20_000..20_000 + lacking)));
        let (cost, cut_short) = mirror(&mut one, &other, salt);
        prop_assert!(one == other && !cut_short, "{:?}", cost);
        prop_assert_eq!(cost.items, lacking as usize * 340);
    }

    #[test]
    fn crowded_keys_are_mirrored_too(
        one in proptest::collection::vec(crowded(), 0..400),
        other in proptest::collection::vec(crowded(), 0..400),
    ) {
        let (mut one, other) = (Plain::of(one), Plain::of(other));
        let (cost, _) = mirror(&mut one, &other, 1);
        prop_assert!(one == other, "{:?}", cost);
    }

    #[test]
    fn the_longest_items_come_over_too(n in 1u32..60, len in 1_000usize..=MAX_ITEM) {
        let (mut one, mut other) = (Plain::of(keys(0..n)), Plain::of(keys(n..2 * n)));
        (one.len, other.len) = (len, len);
        let mut count = 0;
        while one.keys != other.keys {
            exchange(&mut one, &mut other, count);
            count += 1;
            prop_assert!(count < 3);
        }
        prop_assert_eq!(one.keys.len(), 2 * n as usize);
    }

    #[test]
    fn a_hostile_request_gets_an_answer_within_the_caps(bytes in message(), n in 0u32..600) {
        let set = Plain::of(keys(0..n));
        let request = Message::decode(&bytes).unwrap();
        let response = answer(&set, &request);
        prop_assert!(response.len() <= MAX_MESSAGE);
        prop_assert!(Message::decode(&response).is_ok());
    }

    #[test]
    fn a_hostile_answerer_is_left_after_64_rounds(answers in proptest::collection::vec(message(), 1..6), n in 0u32..600, mirrors in any::<bool>()) {
        let set = Plain::of(keys(0..n));
        let mut session = if mirrors { Session::mirroring([9; 8]) } else { Session::new([9; 8]) };
        let mut last = 0;
        while let Some(request) = session.request(&set) {
            prop_assert!(request.len() <= MAX_MESSAGE && Message::decode(&request).is_ok());
            let bytes = &answers[session.rounds() as usize % answers.len()];
            session.take(&set, &Message::decode(bytes).unwrap()).unwrap();
            prop_assert!(session.rounds() > last);
            last = session.rounds();
            prop_assert!(session.wants.len() <= MAX_OPEN && session.owed.len() <= MAX_OWED);
            prop_assert!(session.take_excess().iter().all(|key| holds(&set, key)));
        }
        prop_assert!(session.rounds() <= MAX_ROUNDS);
    }

    #[test]
    fn garbage_and_damaged_messages_never_panic(
        mut bytes in message(), noise in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), cut in any::<bool>(),
    ) {
        let set = Plain::of(keys(0..100));
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << (at % 8) }
        for bytes in [bytes, [&[1], &noise[..]].concat()] {
            if let Ok(message) = Message::decode(&bytes) {
                prop_assert!(answer(&set, &message).len() <= MAX_MESSAGE);
            }
        }
    }

    #[test]
    fn one_message_one_encoding(bytes in message()) {
        let message = Message::decode(&bytes).unwrap();
        let mut out = Builder::new(message.salt());
        for range in message.ranges() {
            prop_assert!(out.range(range));
        }
        for key in message.wants() {
            prop_assert!(out.want(*key));
        }
        prop_assert_eq!(out.finish(), bytes);
    }
}
