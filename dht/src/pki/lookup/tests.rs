//! Tests of the lookups: all pages, in random order, within the caps; liars are given up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::{
    directory::{Basis, Directory},
    epoch,
    page::{Head, Page},
    pki::{Pki, Verdict},
    testing::{TestNode, nodes, params, rng},
};

const EPOCH: u32 = 5;

fn now() -> Moment {
    epoch::start_of(&params(), EPOCH)
}

fn pki(seed: u8, caps: Caps) -> Pki {
    Pki::new(
        params(),
        TestNode::new(&params(), 1_000).id(),
        caps,
        rng(seed),
    )
}

fn directory(count: u32) -> Directory {
    let seed = epoch::union_seed(&params().genesis_seed(), EPOCH);
    let all = nodes(&params(), count);
    let records = all.iter().map(|node| node.records(EPOCH));
    Directory::build_on(&params(), EPOCH, seed, records, &Basis::default())
}

/// Asks for the head at `at` and answers with these.
fn answer_heads(pki: &mut Pki, at: Moment, heads: &[Head]) -> Vec<Verdict> {
    pki.handle_timeout(at);
    let key = head_key(pki.network(), Cell::WHOLE, EPOCH);
    while let Some(asked) = pki.poll_lookup() {
        if asked == key {
            break;
        }
    }
    let verdicts = heads
        .iter()
        .map(|head| pki.handle_record(at, &key, &head.encode()))
        .collect();
    pki.handle_lookup_done(at, &key);
    verdicts
}

#[test]
fn all_pages_of_a_differing_root_are_asked_for_in_random_order() {
    let directory = directory(120);
    let keys: Vec<_> = (0..5)
        .map(|index| page_key(&directory.root(), PageKind::Records, index))
        .collect();
    let mut orders = Vec::new();
    for seed in 0..8 {
        let mut pki = pki(seed, Caps::default());
        assert_eq!(
            answer_heads(&mut pki, now(), &[Head::of(&directory)]),
            [Verdict::Accept]
        );
        let order: Vec<_> = std::iter::from_fn(|| pki.poll_lookup()).collect();
        let mut sorted: Vec<_> = order
            .iter()
            .map(|key| keys.iter().position(|k| k == key).unwrap())
            .collect();
        orders.push(sorted.clone());
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3, 4], "every page, once");
        for key in &order {
            let index = keys.iter().position(|k| k == key).unwrap() as u32;
            let page = Page::of(&directory, PageKind::Records, index).unwrap();
            assert_eq!(
                pki.handle_record(now(), key, &page.encode()),
                Verdict::Accept
            );
        }
        assert_eq!(pki.directory(EPOCH).unwrap().root(), directory.root());
        assert!(pki.lookups.fetches.is_empty() && pki.lookups.open.is_empty());
        // The same head again is no news.
        let later = now() + Span::from_secs(20);
        assert_eq!(
            answer_heads(&mut pki, later, &[Head::of(&directory)]),
            [Verdict::Ignore]
        );
    }
    orders.sort();
    orders.dedup();
    assert!(orders.len() > 1);
}

#[test]
fn no_more_lookups_are_open_than_the_cap() {
    let directory = directory(120);
    let mut pki = pki(
        1,
        Caps {
            lookups: 2,
            ..Caps::default()
        },
    );
    answer_heads(&mut pki, now(), &[Head::of(&directory)]);
    let first = pki.poll_lookup().unwrap();
    assert!(pki.poll_lookup().is_some());
    assert_eq!(pki.poll_lookup(), None);
    pki.handle_lookup_done(now(), &first);
    assert!(pki.poll_lookup().is_some());
    // What never ends is given up after a while.
    let late = now() + Span::from_secs(30);
    pki.handle_timeout(late);
    assert!(pki.poll_lookup().is_some());
}

#[test]
fn unasked_and_misplaced_values_are_dropped() {
    let directory = directory(30);
    let page = Page::of(&directory, PageKind::Records, 0).unwrap();
    let mut pki = pki(1, Caps::default());
    assert_eq!(
        pki.handle_record(now(), &page.key(), &page.encode()),
        Verdict::Ignore
    );
    answer_heads(&mut pki, now(), &[Head::of(&directory)]);
    let other = page_key(&directory.root(), PageKind::Records, 1);
    while pki.poll_lookup().is_some() {}
    assert_eq!(
        pki.handle_record(now(), &other, &page.encode()),
        Verdict::Ignore
    );
    let leaves = Page::of(&directory, PageKind::Leaves, 0).unwrap();
    assert_eq!(
        pki.handle_record(now(), &page.key(), &leaves.encode()),
        Verdict::Ignore
    );
    assert!(pki.directory(EPOCH).is_none());
    // A part of the page with a proof of its own does not pass for the page.
    let part = Page {
        entries: crate::page::Entries::Records(match &page.entries {
            crate::page::Entries::Records(pairs) => pairs[..1].to_vec(),
            crate::page::Entries::Leaves(_) => panic!(),
        }),
        proof: directory.prove(0, 1).unwrap(),
        ..page.clone()
    };
    assert_eq!(
        pki.handle_record(now(), &page.key(), &part.encode()),
        Verdict::Ignore
    );
    assert!(pki.directory(EPOCH).is_none());
    assert_eq!(
        pki.handle_record(now(), &page.key(), &page.encode()),
        Verdict::Accept
    );
}

#[test]
fn heads_of_another_seed_size_or_epoch_are_not_followed() {
    let directory = directory(3);
    let mut pki = pki(
        1,
        Caps {
            nodes: 100,
            ..Caps::default()
        },
    );
    let head = Head::of(&directory);
    let with = |change: fn(&mut Header)| {
        let mut head = head.clone();
        change(&mut head.header);
        head
    };
    let lies = [
        with(|header| header.seed = [1; 32]),
        with(|header| header.count = 0),
        with(|header| header.count = 101),
        with(|header| header.epoch += 1),
        with(|header| header.params = NetworkId([0; 32])),
    ];
    assert_eq!(answer_heads(&mut pki, now(), &lies), [Verdict::Ignore; 5]);
    assert!(pki.lookups.fetches.is_empty());
}

#[test]
fn roots_whose_pages_nobody_has_are_given_up_for_good() {
    let directory = directory(30);
    let mut pki = pki(1, Caps::default());
    let mut lookups = 0;
    let mut at = now();
    for _ in 0..40 {
        at += Span::from_secs(1);
        answer_heads(&mut pki, at, &[Head::of(&directory)]);
        for _ in 0..20 {
            let Some(key) = pki.poll_lookup() else { break };
            lookups += 1;
            pki.handle_lookup_done(at, &key);
        }
    }
    assert!(pki.lookups.fetches.is_empty());
    assert!(
        lookups <= u64::from(ATTEMPTS) * u64::from(FAILURES + 1) + 40,
        "{lookups}"
    );
}

#[test]
fn made_up_heads_stay_within_the_caps() {
    let caps = Caps {
        fetches: 3,
        fetched: 5,
        ..Caps::default()
    };
    let mut pki = pki(1, caps);
    let base = Head::of(&directory(3));
    let mut at = now();
    for round in 0..50u8 {
        at += Span::from_secs(1);
        let heads: Vec<_> = (0..10)
            .map(|n| {
                let mut head = base.clone();
                head.header.tree = [n; 32];
                head.header.bans = [round; 32];
                head.header.count = 8_000;
                head
            })
            .collect();
        answer_heads(&mut pki, at, &heads);
        assert!(pki.lookups.fetches.len() <= 3 && pki.lookups.past.len() <= 5);
        while let Some(key) = pki.poll_lookup() {
            pki.handle_lookup_done(at, &key);
        }
    }
}

#[test]
fn a_stable_view_asks_rarely() {
    let directory = directory(30);
    let mut pki = pki(1, Caps::default());
    answer_heads(&mut pki, now(), &[Head::of(&directory)]);
    while let Some(key) = pki.poll_lookup() {
        let index = (0..2).find(|i| page_key(&directory.root(), PageKind::Records, *i) == key);
        let Some(index) = index else { continue };
        let page = Page::of(&directory, PageKind::Records, index).unwrap();
        pki.handle_record(now(), &key, &page.encode());
    }
    let mut asked = 0;
    let end = now() + Span::from_secs(45);
    loop {
        let at = pki.poll_timeout().unwrap();
        if at >= end {
            break;
        }
        pki.handle_timeout(at);
        while let Some(key) = pki.poll_lookup() {
            asked += 1;
            pki.handle_record(at, &key, &Head::of(&directory).encode());
            pki.handle_lookup_done(at, &key);
        }
    }
    assert!((3..=9).contains(&asked), "{asked}");
}
