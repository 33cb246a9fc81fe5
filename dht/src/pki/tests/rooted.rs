//! Sets by their root: what comes is just that set, from whoever has it, and hostile answers cost no more than their try.

use super::*;
use crate::{
    directory::Basis,
    pki::sync::{Topic, WantedSet},
    reconcile::MAX_ROUNDS,
};

fn peer(n: u32) -> NodeId {
    TestNode::new(&params(), 3_000 + n).id()
}

/// A `Pki` of node `n` that knows these nodes' records of the epoch.
fn knowing(n: u32, nodes: &[TestNode]) -> Pki {
    let mut pki = Pki::new(params(), peer(n), Caps::default(), rng(n as u8));
    pki.handle_timeout(start());
    for node in nodes {
        pki.handle_bundle(start(), &introduce(node, start(), &[node.beat(EPOCH, 0)]));
    }
    pki.sync.introduce();
    pki
}

fn want(pki: &mut Pki, set: &Directory, prefer: Option<NodeId>) {
    pki.want_set(EPOCH, set.root(), set.len() as u32, prefer);
}

/// What requests about roots have cost and brought.
#[derive(Default)]
struct Served {
    requests: usize,
    /// With the answers.
    bytes: usize,
    sets: Vec<WantedSet>,
}

/// Answers all requests of `pki` about roots by `answer`, for a while.
fn serve(
    pki: &mut Pki,
    mut answer: impl FnMut(&SyncRequest, Moment) -> Option<(NodeId, Vec<u8>)>,
) -> Served {
    let (mut now, mut served) = (pki.now, Served::default());
    for _ in 0..160 {
        pki.handle_timeout(now);
        while let Some(sync) = pki.poll_sync() {
            if !matches!(Topic::split(&sync.request), Ok((Topic::Rooted { .. }, _))) {
                pki.handle_sync_failed(now, sync.token);
                continue;
            }
            served.requests += 1;
            served.bytes += sync.request.len();
            match answer(&sync, now) {
                Some((from, answer)) => {
                    assert!(answer.len() <= MAX_SYNC_LEN);
                    served.bytes += answer.len();
                    pki.handle_sync_response(now, sync.token, &from, &answer);
                    served.sets.extend(pki.take_sets());
                }
                None => pki.handle_sync_failed(now, sync.token),
            }
        }
        now += Span::from_millis(100);
    }
    served
}

/// Lets `one` get a set from `other`; the set and what it cost.
fn get(one: &mut Pki, other: &mut Pki, set: &Directory) -> (Option<WantedSet>, usize) {
    want(one, set, None);
    let (from, to) = (one.own().0, other.own().0);
    let mut served = serve(one, |sync, now| {
        let answer = other.handle_sync_request(now, &from, &sync.request);
        answer.map(|answer| (to, answer))
    });
    (served.sets.pop(), served.bytes)
}

/// The directory that the records make in a world without a past.
fn build(set: &WantedSet) -> Directory {
    let seed = Store::new(params(), params().id(), ShortId([0; 16]), Caps::default()).seed(EPOCH);
    let records = set.items.iter().cloned();
    Directory::build_on(&params(), set.epoch, seed, records, &Basis::default())
}

#[test]
fn the_asker_gets_just_the_set_of_the_root_and_unites_the_rest() {
    let all = nodes(&params(), 90);
    let (mut one, mut other) = (knowing(1, &all[..60]), knowing(2, &all[40..]));
    let set = other.directory(EPOCH).unwrap();
    let (got, ..) = get(&mut one, &mut other, &set);
    let got = got.unwrap();
    assert_eq!((got.epoch, got.root), (EPOCH, set.root()));
    assert_eq!(build(&got).root(), set.root());
    one.settle_set(got.epoch, got.root, true);
    assert_eq!(
        one.directory(EPOCH).unwrap().len(),
        90,
        "what is new joins the open set"
    );
    assert_eq!(
        other.directory(EPOCH).unwrap().root(),
        set.root(),
        "a mirror gives nothing"
    );
}

#[test]
fn a_held_set_is_had_as_it_was_when_the_open_one_has_moved_on() {
    let all = nodes(&params(), 30);
    let (mut one, mut other) = (knowing(1, &all), knowing(2, &all));
    // The proposer holds an equivocator's other beat, and a descriptor that is replaced later.
    let mut seen = knowing(3, &all[1..]);
    seen.handle_bundle(
        start(),
        &introduce(&all[0], start(), &[all[0].beat(EPOCH, 1)]),
    );
    let set = seen.directory(EPOCH).unwrap();
    assert!(other.held.hold(set.clone()));
    let renewed = all[5].descriptor(start(), 2);
    for pki in [&mut one, &mut other] {
        pki.handle_bundle(start(), &bundle(&[Record::Descriptor(renewed.as_bytes())]));
    }
    assert_ne!(one.directory(EPOCH).unwrap().root(), set.root());
    let (got, ..) = get(&mut one, &mut other, &set);
    assert_eq!(build(&got.unwrap()).root(), set.root());
    // Two beats of one node have come together.
    assert_eq!(one.faults.len(), 1);
    let open = one.directory(EPOCH).unwrap();
    assert_eq!(
        open.by_short(&all[5].short()).unwrap().descriptor(),
        &renewed
    );
}

#[test]
fn bytes_follow_the_difference() {
    let all = nodes(&params(), 300);
    for (range, most) in [(0..300, 700), (0..299, 3_000), (2..300, 5_000)] {
        let mut other = knowing(2, &all[range]);
        let mut one = knowing(1, &all[1..]);
        let set = other.directory(EPOCH).unwrap();
        let (got, bytes) = get(&mut one, &mut other, &set);
        assert_eq!(build(&got.unwrap()).root(), set.root());
        assert!(bytes < most + 800, "{bytes}");
    }
}

#[test]
fn who_has_it_not_says_so_and_after_four_tries_it_is_left_for_a_while() {
    let all = nodes(&params(), 10);
    let mut one = knowing(1, &all[..5]);
    let mut helper = knowing(2, &all[5..]);
    let set = knowing(3, &all).directory(EPOCH).unwrap();
    want(&mut one, &set, Some(peer(50)));
    let mut asked = Vec::new();
    let own = one.own().0;
    let served = serve(&mut one, |sync, now| match &sync.peer {
        SyncPeer::This(first) => {
            assert_eq!(*first, peer(50));
            None
        }
        SyncPeer::Any { but, .. } => {
            asked.push(but.len());
            let answer = helper.handle_sync_request(now, &own, &sync.request)?;
            assert!(answer.is_empty(), "it has no such set");
            Some((peer(60 + asked.len() as u32), answer))
        }
    });
    // The one who isn't there is no try, and nobody is asked twice.
    assert_eq!((served.requests, asked), (5, vec![1, 2, 3, 4]));
    assert!(served.sets.is_empty());
    let late = one.now;
    want(&mut one, &set, None);
    let first = serve(&mut one, |_, _| None).requests;
    assert_eq!(first, 4, "after a rest it may be wanted again");
    assert!(one.now > late);
    want(&mut one, &set, None);
    assert_eq!(one.directory(EPOCH).unwrap().len(), 5);
}

#[test]
fn a_wrong_set_of_the_right_size_costs_a_try() {
    let all = nodes(&params(), 12);
    let mut one = knowing(1, &all[..6]);
    let mut liar = knowing(2, &all[1..11]);
    let set = knowing(3, &all[2..]).directory(EPOCH).unwrap();
    let wrong = liar.directory(EPOCH).unwrap();
    assert_eq!(set.len(), wrong.len());
    want(&mut one, &set, None);
    let mut honest = knowing(3, &all[2..]);
    let own = one.own().0;
    let mut turn = 0;
    let mut wanted = Vec::new();
    while turn < 2 {
        let served = serve(&mut one, |sync, now| {
            if turn == 1 {
                let answer = honest.handle_sync_request(now, &own, &sync.request);
                return answer.map(|answer| (peer(3), answer));
            }
            // The liar passes off another set under this root.
            let (_, message) = Topic::split(&sync.request).unwrap();
            let root = wrong.root();
            let lie = Topic::Rooted { epoch: EPOCH, root }.request(message);
            let answer = liar.handle_sync_request(now, &own, &lie);
            answer.map(|answer| (peer(2), answer))
        });
        for got in served.sets {
            let good = build(&got).root() == got.root;
            one.settle_set(got.epoch, got.root, good);
            wanted.push(good);
        }
        turn += 1;
    }
    assert_eq!(wanted, [false, true]);
}

#[test]
fn only_so_many_roots_are_wanted_at_once() {
    let mut one = knowing(1, &nodes(&params(), 3));
    for root in 0..100u8 {
        one.want_set(EPOCH, [root; 32], 3, None);
    }
    one.want_set(EPOCH, [200; 32], 8_193, None);
    one.want_set(EPOCH + 7, [201; 32], 3, None);
    let mut roots = std::collections::BTreeSet::new();
    serve(&mut one, |sync, _| {
        let Ok((Topic::Rooted { root, .. }, _)) = Topic::split(&sync.request) else {
            panic!()
        };
        roots.insert(root);
        None
    });
    assert_eq!(roots.len(), 8);
    // What was given up makes room.
    one.want_set(EPOCH, [202; 32], 3, None);
    assert_eq!(serve(&mut one, |_, _| None).requests, 4);
}

/// A list of `count` made-up keys that lies between zero and the end, whatever was asked, with the salt of the request.
fn endless(request: &[u8], count: u16, round: u16) -> Vec<u8> {
    let mut out = vec![1];
    out.extend_from_slice(&request[42..50]);
    out.extend_from_slice(&[1, 0, 2, 0]);
    out.extend_from_slice(&count.to_le_bytes());
    for i in 0..count {
        let mut key = [0xff; 16];
        key[..2].copy_from_slice(&i.to_be_bytes());
        key[2..4].copy_from_slice(&round.to_be_bytes());
        out.extend_from_slice(&key);
    }
    out.extend_from_slice(&[0; 4]);
    out
}

#[test]
fn lists_without_end_cost_so_many_rounds_and_no_more() {
    let all = nodes(&params(), 20);
    let mut one = knowing(1, &all);
    let set = knowing(2, &all[1..]).directory(EPOCH).unwrap();
    want(&mut one, &set, None);
    let mut round = 0;
    let served = serve(&mut one, |sync, _| {
        round += 1;
        // Another liar each time nobody is named.
        let from = match &sync.peer {
            SyncPeer::This(peer) => *peer,
            SyncPeer::Any { but, .. } => peer(100 + but.len() as u32),
        };
        Some((from, endless(&sync.request, 700, round)))
    });
    assert!(
        served.requests <= 4 * MAX_ROUNDS as usize,
        "{}",
        served.requests
    );
    assert!(served.sets.is_empty());
    assert_eq!(one.directory(EPOCH).unwrap().len(), 20, "ours is as it was");
}

#[test]
fn junk_ends_the_try_and_who_forges_is_not_asked_again() {
    let all = nodes(&params(), 20);
    let mut one = knowing(1, &all[..10]);
    let set = knowing(2, &all).directory(EPOCH).unwrap();
    let (descriptor, beat) = all[15].records(EPOCH);
    let mut forged = *beat.as_bytes();
    forged[BEAT_LEN - 1] ^= 1;
    want(&mut one, &set, None);
    let mut tried = 0;
    serve(&mut one, |sync, _| {
        let SyncPeer::Any { but, .. } = &sync.peer else {
            panic!("a liar was asked to go on")
        };
        assert_eq!(but.len(), tried);
        tried += 1;
        let mut item = Vec::new();
        bundle::put(&mut item, Record::Descriptor(descriptor.as_bytes()));
        bundle::put(&mut item, Record::Beat(&forged));
        let mut out = vec![1];
        out.extend_from_slice(&sync.request[42..50]);
        out.extend_from_slice(&[0, 0, 0, 0, 1, 0]);
        out.extend_from_slice(&(item.len() as u16).to_le_bytes());
        out.extend(item);
        Some((peer(tried as u32), out))
    });
    assert_eq!(tried, 4);
    assert_eq!(one.directory(EPOCH).unwrap().len(), 10);
}

#[test]
fn valid_records_without_end_fill_nothing_but_the_open_set() {
    // A set of three is wanted; the liar sends items of others, all valid.
    let all = nodes(&params(), 60);
    let mut one = knowing(1, &[]);
    let set = knowing(2, &all[..3]).directory(EPOCH).unwrap();
    let mut liar = knowing(3, &all);
    let whole = liar.directory(EPOCH).unwrap().root();
    want(&mut one, &set, None);
    let own = one.own().0;
    let served = serve(&mut one, |sync, now| {
        let (_, message) = Topic::split(&sync.request).unwrap();
        let root = whole;
        let lie = Topic::Rooted { epoch: EPOCH, root }.request(message);
        let answer = liar.handle_sync_request(now, &own, &lie)?;
        Some((peer(9), answer))
    });
    assert!(served.requests < 20, "{}", served.requests);
    assert!(served.sets.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_set_is_had_exactly(ours in proptest::collection::vec(any::<bool>(), 70), theirs in proptest::collection::vec(any::<bool>(), 70)) {
        let all = nodes(&params(), 70);
        let some = |chosen: &[bool]| -> Vec<_> {
            all.iter().zip(chosen).filter(|(_, is)| **is).map(|(node, _)| node.clone()).collect()
        };
        let mut other = knowing(2, &some(&theirs));
        let mut one = knowing(1, &some(&ours));
        prop_assume!(theirs.contains(&true));
        let set = other.directory(EPOCH).unwrap();
        let (got, ..) = get(&mut one, &mut other, &set);
        prop_assert_eq!(build(&got.unwrap()).root(), set.root());
    }

    #[test]
    fn garbage_never_panics_nor_lasts(answers in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 1..20)) {
        let all = nodes(&params(), 5);
        let mut one = knowing(1, &all);
        let set = knowing(2, &all[1..]).directory(EPOCH).unwrap();
        want(&mut one, &set, None);
        let mut at = 0;
        let served = serve(&mut one, |sync, _| {
            at += 1;
            let mut out = answers[at % answers.len()].clone();
            // Half of them have version and salt right.
            if at % 2 == 0 && out.len() > 9 {
                out[0] = 1;
                out[1..9].copy_from_slice(&sync.request[42..50]);
            }
            Some((peer(at as u32), out))
        });
        prop_assert!(served.requests <= 4 * MAX_ROUNDS as usize);
    }
}
