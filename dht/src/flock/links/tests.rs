//! Tests of the links: the full mesh, the expander, those off duty, leaves with their guards, and routes over all of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::{
    descriptor::Capability,
    directory::{Directory, Totals},
    flock::{Flock, Guarded},
    testing::{TestNode, nodes, params, rng},
};
use mix::{
    Hop,
    route::{self, RouteError, Topology},
};
use proptest::prelude::*;
use std::{collections::BTreeSet, sync::Arc};

const SEED: [u8; 32] = [2; 32];

/// A flock of about `on_duty` of these nodes.
fn flock(all: &[TestNode], on_duty: u64) -> Arc<Flock> {
    let records = all.iter().map(|node| node.records(1));
    let directory = Arc::new(Directory::build(&params(), 1, SEED, records));
    let totals = Totals {
        // What three hops of 0.2 s fill with 12 packets each.
        rate_mhz: on_duty * 20_000,
        ..directory.totals()
    };
    Arc::new(Flock::with_totals(directory, &totals, 5))
}

/// Whether a packet may go from one to the other, by what the topology says.
fn hands(topology: &impl Topology, from: &ShortId, to: &ShortId) -> bool {
    let holds =
        |list: Option<&[u32]>, at: usize| list.is_none_or(|list| list.contains(&(at as u32)));
    match (topology.index_of(from), topology.index_of(to)) {
        (Some(from), Some(to)) => holds(topology.next_hops(from), to),
        (None, Some(to)) => holds(topology.first_hops(from).as_deref(), to),
        (Some(from), None) => holds(topology.last_hops(to).as_deref(), from),
        (None, None) => false,
    }
}

fn some(all: &[TestNode], flock: &Flock, on_duty: bool) -> ShortId {
    let mut shorts = all.iter().map(TestNode::short);
    shorts.find(|short| flock.has(short) == on_duty).unwrap()
}

#[test]
fn up_to_256_on_duty_all_link_to_all_and_the_others_to_eight() {
    let all = nodes(&params(), 300);
    let flock = flock(&all, 200);
    assert!((150..=FULL_MESH_UP_TO).contains(&flock.len()));
    assert!(!flock.is_sparse());
    let (on, off) = (some(&all, &flock, true), some(&all, &flock, false));
    assert_eq!(flock.first_hops(&on), None);
    assert_eq!(flock.last_hops(&on), None);
    let eight = flock.first_hops(&off).unwrap();
    assert_eq!(eight.len(), ATTACHED);
    assert_eq!(
        flock.last_hops(&off).unwrap(),
        eight,
        "the same streams, both ways"
    );
    assert_eq!(flock.neighbours(&off).len(), ATTACHED);
    let stranger = ShortId([9; 16]);
    assert_eq!(flock.first_hops(&stranger), Some(vec![]));
    assert_eq!(flock.neighbours(&stranger), Vec::<u32>::new());
}

#[test]
fn above_256_each_hands_to_32_successors() {
    let all = nodes(&params(), 330);
    let flock = flock(&all, 290);
    assert!(flock.len() > FULL_MESH_UP_TO && flock.is_sparse());
    let mut into = vec![0u32; flock.len()];
    for at in 0..flock.len() {
        let next = flock.next_hops(at).unwrap();
        assert_eq!(next.len(), SUCCESSORS);
        assert!(next.windows(2).all(|pair| pair[0] < pair[1]) && !next.contains(&(at as u32)));
        assert_eq!(flock.first_hops(&flock.mix(at).hop.id).unwrap(), next);
        next.iter().for_each(|to| into[*to as usize] += 1);
    }
    for (at, count) in into.iter().enumerate() {
        let before = flock.last_hops(&flock.mix(at).hop.id).unwrap();
        assert_eq!(before.len(), *count as usize);
        assert!(before.iter().all(|from| {
            flock
                .next_hops(*from as usize)
                .unwrap()
                .contains(&(at as u32))
        }));
    }
    // Expected 32 with a deviation of 5.4; nobody is left out or drowned.
    assert!(into.iter().all(|count| (8..64).contains(count)), "{into:?}");
}

#[test]
fn both_ends_of_a_link_know_of_it() {
    let mut all = nodes(&params(), 330);
    all[7].capability = Capability::LEAF;
    for on_duty in [100, 290] {
        let flock = flock(&all, on_duty);
        let wanted: Vec<BTreeSet<u32>> = flock
            .directory()
            .nodes()
            .map(|entry| flock.neighbours(&entry.short()).into_iter().collect())
            .collect();
        for (i, one) in flock.directory().nodes().enumerate() {
            assert!(!wanted[i].contains(&(i as u32)));
            for (j, other) in flock.directory().nodes().enumerate() {
                let linked = wanted[i].contains(&(j as u32));
                assert_eq!(linked, wanted[j].contains(&(i as u32)), "{i} and {j} agree");
                let hands = hands(&*flock, &one.short(), &other.short())
                    || hands(&*flock, &other.short(), &one.short());
                assert_eq!(
                    i != j && hands,
                    linked,
                    "what is linked is what may be used: {i} and {j}"
                );
            }
        }
        assert!(wanted[flock.directory().position_of(&all[7].short()).unwrap()].is_empty());
    }
}

#[test]
fn another_slot_or_seed_draws_other_links() {
    let id = ShortId([3; 16]);
    let draw = |seed: &[u8; 32], slot| drawn(seed, slot, &id, 1_000, SUCCESSORS, Some(4));
    assert_eq!(draw(&SEED, 1), draw(&SEED, 1));
    assert_ne!(draw(&SEED, 1), draw(&SEED, 2));
    assert_ne!(draw(&SEED, 1), draw(&[3; 32], 1));
}

#[test]
fn every_place_is_drawn_equally_often() {
    let mut seen = [0u32; 40];
    for n in 0..2_000u16 {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&n.to_le_bytes());
        for place in drawn(&SEED, 1, &ShortId(id), 40, 8, None) {
            seen[place as usize] += 1;
        }
    }
    // Hypergeometric: 400 expected in each place, 16,000 in all, variance 0.8 of a binomial's.
    let chi2: f64 = seen
        .iter()
        .map(|&n| (f64::from(n) - 400.0).powi(2) / 400.0)
        .sum();
    assert!(chi2 < 39.0 + 4.0 * 78f64.sqrt(), "chi-square {chi2}");
}

#[test]
fn routes_go_over_the_links_and_never_twice_through_a_subnet() {
    let all = nodes(&params(), 330);
    let mut rng = rng(1);
    for on_duty in [100, 290] {
        let flock = flock(&all, on_duty);
        let (on, off) = (some(&all, &flock, true), some(&all, &flock, false));
        for (own, last) in [(on, off), (off, on), (off, off), (on, on)] {
            for _ in 0..100 {
                let path = route::draw(&*flock, 3, &last, own, 6, true, &mut rng).unwrap();
                let mut from = own;
                for (at, hop) in path.iter().enumerate() {
                    assert!(hands(&*flock, &from, &hop.id), "step {at}");
                    assert!(at == 3 || flock.has(&hop.id));
                    from = hop.id;
                }
                assert_eq!(path.len(), 4);
                let ids: BTreeSet<_> = path.iter().map(|hop| hop.id).collect();
                assert_eq!(ids.len(), 4);
            }
        }
    }
}

#[test]
fn a_leafs_routes_begin_and_end_at_its_guards() {
    let mut all = nodes(&params(), 330);
    all[0].capability = Capability::LEAF;
    let leaf = all[0].short();
    let mut rng = rng(2);
    for on_duty in [100, 290] {
        let flock = flock(&all, on_duty);
        let guards = [
            some(&all[1..], &flock, true),
            some(&all[1..], &flock, false),
        ];
        let unknown = ShortId([9; 16]);
        let guarded = Guarded::new(flock.clone(), leaf, &[guards[0], unknown, guards[1]]);
        assert_eq!(guarded.guards(), 2);
        let far = all[300].short();
        let (mut first, mut last) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..300 {
            let there = route::draw(&guarded, 3, &far, leaf, 6, true, &mut rng).unwrap();
            first.insert(there[0].id);
            let back = route::draw(&guarded, 3, &leaf, far, 6, true, &mut rng).unwrap();
            last.insert(back[2].id);
            // Off duty, a guard is nobody's hop but ours, and only next to us.
            for inner in there[1..3].iter().chain(&back[..2]) {
                assert!(flock.has(&inner.id));
            }
            for (from, to) in [(there[0], there[1]), (back[1], back[2])] {
                assert!(hands(&guarded, &from.id, &to.id));
            }
        }
        let both: BTreeSet<_> = guards.into_iter().collect();
        assert!(
            first.is_subset(&both) && last.is_subset(&both),
            "{first:?} {last:?}"
        );
        assert_eq!(last, both, "each guard takes its turn");
        // Without guards there is no way in, and nobody else knows ours.
        let none = Guarded::new(flock.clone(), leaf, &[]);
        let refused = route::draw(&none, 3, &far, leaf, 6, true, &mut rng);
        assert_eq!(refused, Err(RouteError::NoPermittedRoute));
        let refused = route::draw(&*flock, 3, &leaf, far, 6, true, &mut rng);
        assert_eq!(refused, Err(RouteError::NoPermittedRoute));
    }
}

#[test]
fn a_guest_is_the_end_of_its_own_routes_and_of_nobody_elses() {
    let all = nodes(&params(), 60);
    let (guest, others) = (&all[0], &all[1..]);
    let with_it = flock(&all, 30);
    let flock = flock(others, 30);
    let hop = with_it.hop_of(&guest.short()).unwrap();
    let guards = [some(others, &flock, true), some(others, &flock, false)];
    let stranger = Guarded::new(flock.clone(), guest.short(), &guards);
    let guarded = stranger.clone().with_guest(hop);
    let mut rng = rng(3);
    let own = guest.short();
    let mut draw =
        |topology: &Guarded, from, to| route::draw(topology, 3, &to, from, 6, true, &mut rng);
    assert_eq!(draw(&stranger, own, own), Err(RouteError::UnknownFinal));
    let far = others[50].short();
    for _ in 0..100 {
        let around = draw(&guarded, own, own).unwrap();
        let back = draw(&guarded, far, own).unwrap();
        assert!(guards.contains(&around[0].id) && guards.contains(&around[2].id));
        assert!(guards.contains(&back[2].id));
        assert_eq!((around[3], back[3]), (hop, hop));
        assert!(
            draw(&guarded, own, far)
                .unwrap()
                .iter()
                .all(|on| on.id != own)
        );
    }
    // Under another name it is none.
    let other = Hop {
        id: ShortId([7; 16]),
        ..hop
    };
    let misnamed = stranger.with_guest(other);
    assert_eq!(
        draw(&misnamed, own, other.id),
        Err(RouteError::UnknownFinal)
    );
}

proptest! {
    #[test]
    fn draws_are_distinct_and_in_range(
        among in 0usize..600,
        count in 0usize..40,
        own in any::<prop::sample::Index>(),
        takes_part in any::<bool>(),
        slot in any::<u64>(),
    ) {
        let own = (takes_part && among > 0).then(|| own.index(among) as u32);
        let places = drawn(&SEED, slot, &ShortId([1; 16]), among, count, own);
        let others = among - usize::from(own.is_some());
        prop_assert_eq!(places.len(), count.min(others));
        prop_assert!(places.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(places.iter().all(|place| (*place as usize) < among && Some(*place) != own));
    }
}
