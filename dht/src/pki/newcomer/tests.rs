//! Tests of the way in: over honest and lying values, with pieces missing, and with Kademlia off.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::{
    OwnRecord, Pki,
    bundle::{BundleWriter, Record},
    epoch,
    page::{
        Entries, Page, PageKind, bans_page_key, candidates_key, for_newcomers, page_count, page_key,
    },
    testing::{Past, TestNode, params, rng},
};
use mix::time::Span;
use proptest::prelude::*;
use std::sync::OnceLock;

const EPOCHS: u32 = 9;

/// 30 nodes and nine certified epochs: made once, read by all.
fn past() -> &'static Past {
    static PAST: OnceLock<Past> = OnceLock::new();
    PAST.get_or_init(|| Past::new(&params(), 30, EPOCHS))
}

/// What Kademlia holds of it: everything of the past, and the pages of the last set.
fn values() -> BTreeMap<[u8; 32], Vec<Vec<u8>>> {
    let past = past();
    let mut values = BTreeMap::new();
    for (directory, certificate) in past.directories.iter().zip(&past.certificates) {
        let header = directory.header();
        let next = candidates_key(&header.next_committee);
        values.insert(next, vec![directory.next_candidates().encode()]);
        values.insert(key_of(certificate), vec![certificate.encode()]);
        for (key, value) in for_newcomers(directory) {
            values.insert(key, vec![value]);
        }
    }
    let last = past.directories.last().unwrap();
    for index in 0..page_count(last.len() as u32) {
        let page = Page::of(last, PageKind::Records, index).unwrap();
        values.insert(page.key(), vec![page.encode()]);
    }
    values
}

fn key_of(certificate: &Certificate) -> [u8; 32] {
    certificate_key(&params().id(), Cell::WHOLE, certificate.epoch())
}

fn newcomer(root: [u8; 32]) -> Pki {
    let own = TestNode::new(&params(), 900).id();
    let mut pki = Pki::new(params(), own, Caps::default(), rng(3));
    pki.join(epoch::start_of(&params(), EPOCHS - 1), root);
    pki
}

/// Runs lookups for a while; returns the keys in the order they were asked for.
fn run(pki: &mut Pki, values: &BTreeMap<[u8; 32], Vec<Vec<u8>>>, seconds: u64) -> Vec<[u8; 32]> {
    let mut now = epoch::start_of(&params(), EPOCHS - 1);
    let mut asked = Vec::new();
    for _ in 0..seconds * 4 {
        pki.handle_timeout(now);
        while let Some(key) = pki.poll_lookup() {
            asked.push(key);
            for value in values.get(&key).into_iter().flatten() {
                pki.handle_record(now, &key, value);
            }
            pki.handle_lookup_done(now, &key);
        }
        now += Span::from_millis(250);
    }
    asked
}

fn last_root() -> [u8; 32] {
    past().directories.last().unwrap().root()
}

#[test]
fn a_checkpoint_and_lookups_are_enough() {
    let mut pki = newcomer(past().directories[1].root());
    assert_eq!(pki.progress(), Some(Progress::Start));
    assert!(pki.directory(EPOCHS - 1).is_none());
    let asked = run(&mut pki, &values(), 20);
    let joined = pki.joined().unwrap();
    assert_eq!(pki.progress(), None);
    let last = past().directories.last().unwrap();
    assert_eq!(joined.directory.root(), last.root());
    assert_eq!(joined.directory.totals(), last.totals());
    let standings = |directory: &Directory| -> Vec<_> {
        let nodes = directory.nodes();
        nodes
            .map(|entry| (entry.node(), entry.standing(), *entry.position()))
            .collect()
    };
    assert_eq!(standings(&joined.directory), standings(last));
    assert_eq!(Some(&joined.certificate), past().certificates.last());
    assert!(joined.seeds.is_some());
    // Every page, and nothing twice without need.
    for index in 0..page_count(last.len() as u32) {
        let key = page_key(&last.root(), PageKind::Records, index);
        assert_eq!(asked.iter().filter(|asked| **asked == key).count(), 1);
    }
}

#[test]
fn from_the_present_it_waits_for_the_next_certificate() {
    let before = &past().directories[EPOCHS as usize - 2];
    let mut pki = newcomer(before.root());
    run(&mut pki, &values(), 20);
    assert_eq!(pki.joined().unwrap().directory.root(), last_root());
    let mut pki = newcomer(last_root());
    run(&mut pki, &values(), 20);
    assert!(pki.joined().is_none());
}

#[test]
fn pages_are_asked_for_in_another_order_each_time() {
    let mut orders = BTreeSet::new();
    for seed in 0..4 {
        let own = TestNode::new(&params(), 900).id();
        let mut pki = Pki::new(params(), own, Caps::default(), rng(seed));
        pki.join(
            epoch::start_of(&params(), EPOCHS - 1),
            past().directories[0].root(),
        );
        let heads: BTreeSet<_> = (0..EPOCHS)
            .map(|epoch| certificate_key(&params().id(), Cell::WHOLE, epoch))
            .collect();
        let asked = run(&mut pki, &values(), 20);
        let order: Vec<_> = asked
            .into_iter()
            .filter(|key| heads.contains(key))
            .collect();
        orders.insert(order);
    }
    assert!(orders.len() > 1);
}

/// Values that liars serve beside each honest one.
fn with_lies(lies: usize, honest_too: bool) -> BTreeMap<[u8; 32], Vec<Vec<u8>>> {
    let mut values = values();
    for found in values.values_mut() {
        let honest = found.remove(0);
        for lie in 0..lies {
            let mut forged = honest.clone();
            // Another place each time: form, hashes, signatures.
            let at = (lie * 97 + 11) % forged.len();
            forged[at] ^= 1;
            found.push(forged);
        }
        if honest_too {
            found.push(honest);
        }
    }
    values
}

#[test]
fn two_liars_at_every_key_cost_time_only() {
    let mut pki = newcomer(past().directories[1].root());
    run(&mut pki, &with_lies(2, true), 59);
    assert_eq!(pki.joined().unwrap().directory.root(), last_root());
}

#[test]
fn among_liars_alone_it_stays_behind_and_small() {
    let mut pki = newcomer(past().directories[1].root());
    run(&mut pki, &with_lies(5, false), 59);
    assert!(pki.joined().is_none());
    assert!(pki.directory(EPOCHS - 1).is_none());
}

#[test]
fn the_heads_of_liars_stay_within_their_caps() {
    let mut values = values();
    let past = past();
    // Certificates with a header of their own over the signatures of others, as many as one likes.
    for certificate in &past.certificates[2..] {
        let key = key_of(certificate);
        for lie in 0..20u8 {
            let mut header = *certificate.header();
            header.next_committee = [lie; 32];
            let mut bytes = certificate.encode();
            bytes[1..205].copy_from_slice(&header.to_bytes());
            values.entry(key).or_default().insert(0, bytes);
        }
    }
    let mut newcomer = Newcomer::new(&params(), past.directories[1].root(), &Caps::default());
    let mut rng = rng(1);
    let mut now = epoch::start_of(&params(), EPOCHS - 1);
    newcomer.turn(now, EPOCHS - 1);
    for _ in 0..400 {
        newcomer.fire(now);
        while let Some(key) = newcomer.poll(now, &mut rng) {
            for value in values.get(&key).into_iter().flatten() {
                newcomer.take(now, &key, value);
            }
            newcomer.done(now, &key);
        }
        let (heads, candidates, asks) = newcomer.held();
        let window = WINDOW as usize;
        assert!(heads <= HELD * window && candidates <= HELD * window);
        assert!(asks <= (1 + HELD) * window);
        now += Span::from_millis(100);
    }
}

#[test]
fn an_epoch_without_certificate_is_stepped_over_only_as_far_as_candidates_are_handed_over() {
    let past = past();
    let mut values = values();
    // The certificates of 5 on are gone: the chain ends four epochs before the present.
    for certificate in &past.certificates[5..] {
        values.remove(&key_of(certificate));
    }
    let mut pki = newcomer(past.directories[1].root());
    run(&mut pki, &values, 50);
    assert!(pki.joined().is_none());
    assert_eq!(pki.progress(), Some(Progress::Stuck { at: 4 }));
}

#[test]
fn pages_with_broken_signatures_are_none() {
    let last = past().directories.last().unwrap();
    let mut values = values();
    for index in 0..page_count(last.len() as u32) {
        let mut page = Page::of(last, PageKind::Records, index).unwrap();
        let Entries::Records(pairs) = &mut page.entries else {
            panic!("records")
        };
        pairs[0].beat[130] ^= 1;
        assert!(
            page.verify(last.header()),
            "the header doesn't commit to signatures"
        );
        values.insert(page.key(), vec![page.encode()]);
    }
    let mut pki = newcomer(past().directories[1].root());
    run(&mut pki, &values, 50);
    assert!(pki.joined().is_none());
}

#[test]
fn with_kademlia_off_a_newcomer_never_gets_ready() {
    let now = epoch::start_of(&params(), EPOCHS - 1);
    let mut pki = newcomer(past().directories[1].root());
    // It hears everything that is gossiped.
    for node in &past().nodes {
        let mut bundle = BundleWriter::new(Cell::WHOLE, node.number);
        bundle.push(Record::Descriptor(node.descriptor(now, 9).as_bytes()));
        bundle.push(Record::Beat(node.beat(EPOCHS - 1, 0).as_bytes()));
        pki.handle_bundle(now, &bundle.finish());
    }
    assert!(
        pki.peers().count() >= past().nodes.len(),
        "it knows everybody"
    );
    let own = TestNode::new(&params(), 900);
    for record in [
        OwnRecord::Descriptor(own.descriptor(now, 1)),
        OwnRecord::Beat(own.beat(EPOCHS - 1, 0)),
    ] {
        pki.publish(now, record).unwrap();
    }
    run(&mut pki, &BTreeMap::new(), 55);
    assert!(pki.behind());
    assert!(pki.directory(EPOCHS - 1).is_none(), "and has no directory");
    // And nobody is asked to reconcile: that is for those who are in.
    assert!(pki.poll_sync().is_none());
    assert_eq!(pki.counters().sync_rounds, 0);
}

#[test]
fn pages_of_bans_are_part_of_the_way() {
    use crate::bans::{Bans, MAX_BANS, Offence};
    use crate::page::{BansPage, MAX_BANS_PAGE_LEN, PAGE_BANS, bans_pages};
    use mix::ShortId;

    let culprit = |n: u32| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        ShortId(id)
    };
    for count in [1, PAGE_BANS as u32, PAGE_BANS as u32 + 1, MAX_BANS as u32] {
        let offences = (0..count).map(|n| Offence {
            culprit: culprit(n),
            epoch: 3,
        });
        let bans = Bans::default().next(3, 10, offences, |_| true);
        let pages: Vec<_> = (0..bans_pages(count))
            .map(|index| BansPage::of(&bans, index).unwrap())
            .collect();
        assert!(BansPage::of(&bans, bans_pages(count)).is_none());
        for page in &pages {
            let bytes = page.encode();
            assert!(bytes.len() <= MAX_BANS_PAGE_LEN && MAX_BANS_PAGE_LEN < 16 * 1024);
            assert_eq!(BansPage::decode(&bytes).as_ref(), Ok(page));
            assert!(page.verify(&bans.hash()));
            let mut wrong = page.clone();
            wrong.entries[0].1 ^= 1;
            assert!(!wrong.verify(&bans.hash()));
            wrong = page.clone();
            wrong.entries.pop();
            assert!(!wrong.verify(&bans.hash()));
        }
        let all: Vec<_> = pages.into_iter().flat_map(|page| page.entries).collect();
        assert_eq!(Bans::of_entries(&all), Some(bans.clone()));
        let key = |index| bans_page_key(&bans.hash(), index);
        assert_ne!(key(0), key(1));
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = crate::page::BansPage::decode(&bytes);
        let _ = decode_start(&params().id(), &bytes);
    }
}
