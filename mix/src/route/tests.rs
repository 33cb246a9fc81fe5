//! Tests of the routes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use super::*;
use crate::sphinx::testkit::{Relay, relays, rng};

/// Mixing nodes 1…n by name, one weight-0 node more, and a rule for links.
struct Mesh {
    mixes: Vec<Relay>,
    leaf: Relay,
    subnets: Vec<u32>,
    link: fn(u8, u8) -> bool,
}

fn mesh(mixes: u8, subnets: &[u32], link: fn(u8, u8) -> bool) -> Mesh {
    let mut all = relays(mixes + 1, &mut rng(9));
    let leaf = all.pop().unwrap();
    let subnets = (0..usize::from(mixes))
        .map(|i| subnets.get(i).copied().unwrap_or(1_000 + i as u32))
        .collect();
    Mesh {
        mixes: all,
        leaf,
        subnets,
        link,
    }
}

impl Topology for Mesh {
    fn mixes(&self) -> usize {
        self.mixes.len()
    }
    fn mix(&self, index: usize) -> MixRef {
        MixRef {
            hop: self.mixes[index].hop,
            subnet: self.subnets[index],
            weight: 1,
        }
    }
    fn index_of(&self, id: &ShortId) -> Option<usize> {
        self.mixes.iter().position(|relay| relay.hop.id == *id)
    }
    fn hop_of(&self, id: &ShortId) -> Option<Hop> {
        self.mixes
            .iter()
            .chain([&self.leaf])
            .map(|relay| relay.hop)
            .find(|hop| hop.id == *id)
    }
    fn permits(&self, from: &ShortId, to: &ShortId) -> bool {
        (self.link)(from.0[0], to.0[0])
    }
}

fn id(name: u8) -> ShortId {
    ShortId([name; 16])
}

fn names(path: &[Hop]) -> Vec<u8> {
    path.iter().map(|hop| hop.id.0[0]).collect()
}

fn full(_: u8, _: u8) -> bool {
    true
}

/// Draws many paths and compares how often each permitted walk came with the uniform law.
fn assert_uniform(
    mesh: &Mesh,
    hops: usize,
    last: u8,
    own: u8,
    distinct_subnets: bool,
    walks: usize,
) {
    let mut rng = rng(1);
    let mut seen: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    let per_walk = 40;
    for _ in 0..walks * per_walk {
        let path = draw(
            mesh,
            hops,
            &id(last),
            id(own),
            0,
            distinct_subnets,
            &mut rng,
        )
        .unwrap();
        *seen.entry(names(&path)).or_default() += 1;
    }
    assert_eq!(seen.len(), walks, "every permitted walk and no other");
    let mean = per_walk as f64;
    let chi2: f64 = seen
        .values()
        .map(|&n| (f64::from(n) - mean).powi(2) / mean)
        .sum();
    let freedom = (walks - 1) as f64;
    assert!(
        chi2 < freedom + 4.0 * (2.0 * freedom).sqrt(),
        "chi-square {chi2} with {freedom} degrees of freedom"
    );
}

#[test]
fn walks_are_uniform_distinct_and_leave_out_sender_and_final_node() {
    let mesh = mesh(9, &[], full);
    // 7 candidates: 7 · 6 · 5 ordered walks.
    assert_uniform(&mesh, 3, 2, 1, false, 210);
    let mut rng = rng(2);
    for _ in 0..500 {
        let path = names(&draw(&mesh, 4, &id(2), id(1), 6, false, &mut rng).unwrap());
        assert_eq!((path.len(), path[4]), (5, 2));
        assert!(!path.contains(&1) && !path[..4].contains(&2));
        assert!((1..5).all(|i| !path[..i].contains(&path[i])));
    }
}

#[test]
fn walks_are_uniform_under_the_subnet_rule_too() {
    // Subnets of 3, 2 and 1 candidates besides the final node's own (node 1 and 2): walks of 3 take one of each.
    let mesh = mesh(8, &[5, 5, 6, 6, 6, 7, 7, 8], full);
    assert_uniform(&mesh, 3, 1, 99, true, 3 * 2 * 6);
}

#[test]
fn walks_are_uniform_over_few_links() {
    // A ring with chords: i may hand to i+1, i+2 and i+3 of 10. Walks 1 → a → b → 9 in which all differ.
    let mesh = mesh(10, &[], |from, to| {
        (1..=3).contains(&((to + 10 - from) % 10))
    });
    let mut permitted = 0;
    for a in 2..=4u8 {
        permitted += (1..=3u8)
            .filter(|step| (1..=3).contains(&(9i8 - (a + step) as i8)))
            .count();
    }
    assert_uniform(&mesh, 2, 9, 1, false, permitted);
}

#[test]
fn a_leaf_can_send_and_be_the_last_hop_and_a_loop_comes_home() {
    let mesh = mesh(6, &[], full);
    let mut rng = rng(3);
    let to_leaf = draw(&mesh, 3, &id(7), id(1), 5, true, &mut rng).unwrap();
    assert_eq!(names(&to_leaf)[3], 7);
    let from_leaf = draw(&mesh, 3, &id(1), id(7), 6, true, &mut rng).unwrap();
    assert_eq!(names(&from_leaf)[3], 1);
    let home = names(&draw(&mesh, 3, &id(1), id(1), 5, true, &mut rng).unwrap());
    assert_eq!(home[3], 1);
    assert!(!home[..3].contains(&1));
}

#[test]
fn too_few_mixes_is_said_and_never_answered_by_a_shorter_route() {
    let mut rng = rng(4);
    let mut go = |mixes: u8, last: u8, own: u8, min_live: usize| {
        draw(
            &mesh(mixes, &[], full),
            3,
            &id(last),
            id(own),
            min_live,
            false,
            &mut rng,
        )
        .map(|path| path.len())
    };
    assert_eq!(
        go(6, 2, 1, 6),
        Err(RouteError::TooFewMixes { have: 5, need: 6 }),
        "we are none of our peers"
    );
    assert_eq!(go(7, 2, 1, 6), Ok(4));
    assert_eq!(
        go(4, 2, 1, 0),
        Err(RouteError::TooFewMixes { have: 3, need: 4 }),
        "the final node mixes not for itself"
    );
    assert_eq!(go(5, 2, 1, 0), Ok(4));
    assert_eq!(go(4, 1, 1, 0), Ok(4), "a loop needs only its mixing hops");
    assert_eq!(
        go(0, 1, 9, 0),
        Err(RouteError::TooFewMixes { have: 0, need: 3 }),
        "the leaf alone"
    );
    assert_eq!(go(6, 100, 1, 0), Err(RouteError::UnknownFinal));
}

#[test]
fn the_one_permitted_walk_among_many_is_found_and_none_is_said() {
    // Only steps of exactly one: of 60 · 59 · 58 walks a single one leads from 10 to 14.
    let line = mesh(60, &[], |from, to| to == from + 1);
    let path = draw(&line, 3, &id(14), id(10), 6, false, &mut rng(5)).unwrap();
    assert_eq!(names(&path), [11, 12, 13, 14]);
    let error = draw(&line, 3, &id(15), id(10), 6, false, &mut rng(6)).unwrap_err();
    assert_eq!(error, RouteError::NoPermittedRoute);
    let crowded = mesh(12, &[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2], full);
    assert_eq!(
        draw(&crowded, 3, &id(1), id(2), 6, true, &mut rng(7)),
        Err(RouteError::NoPermittedRoute)
    );
}
