//! Tests of the routes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use super::*;
use crate::sphinx::testkit::{Relay, relays, rng};

/// Mixing nodes 1…n by name, one weight-0 node more, and a rule for links.
struct Mesh {
    mixes: Vec<Relay>,
    leaf: Relay,
    subnets: Vec<Option<u32>>,
    link: fn(u8, u8) -> bool,
    next: Vec<Vec<u32>>,
    /// Nodes that may only begin or end a path, by name.
    outer: Vec<u8>,
}

/// The subnets given, then no subnet. All links unless `link` leaves some out.
fn mesh(mixes: u8, subnets: &[u32], link: fn(u8, u8) -> bool) -> Mesh {
    let mut all = relays(mixes + 1, &mut rng(9));
    let leaf = all.pop().unwrap();
    let subnets = (0..usize::from(mixes))
        .map(|i| subnets.get(i).copied())
        .collect();
    let next = (1..=mixes).map(|from| {
        let to = (1..=mixes).filter(|to| link(from, *to));
        to.map(|to| u32::from(to) - 1).collect()
    });
    Mesh {
        mixes: all,
        leaf,
        subnets,
        link,
        next: next.collect(),
        outer: Vec::new(),
    }
}

impl Mesh {
    fn linked(&self, fits: impl Fn(u8) -> bool) -> Option<Vec<u32>> {
        let all = 0..self.mixes.len() as u32;
        let list: Vec<u32> = all.filter(|i| fits(*i as u8 + 1)).collect();
        (list.len() < self.mixes.len()).then_some(list)
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
    fn is_sparse(&self) -> bool {
        self.next.iter().any(|next| next.len() < self.mixes.len())
    }
    fn first_hops(&self, from: &ShortId) -> Option<Vec<u32>> {
        self.linked(|to| (self.link)(from.0[0], to))
    }
    fn next_hops(&self, index: usize) -> Option<&[u32]> {
        let next = &self.next[index];
        (next.len() < self.mixes.len()).then_some(next)
    }
    fn last_hops(&self, last: &ShortId) -> Option<Vec<u32>> {
        self.linked(|from| (self.link)(from, last.0[0]))
    }
    fn is_inner(&self, index: usize) -> bool {
        !self.outer.contains(&(index as u8 + 1))
    }
}

/// All permitted walks, by trying every one.
fn walks(mesh: &Mesh, hops: usize, last: u8, own: u8, distinct_subnets: bool) -> Vec<Vec<u8>> {
    let subnet = |name: u8| {
        mesh.subnets
            .get(usize::from(name).wrapping_sub(1))
            .copied()
            .flatten()
    };
    let mut open = vec![vec![]];
    for at in 0..hops {
        let mut longer: Vec<Vec<u8>> = Vec::new();
        for walk in &open {
            for next in 1..=mesh.mixes.len() as u8 {
                let from = walk.last().copied().unwrap_or(own);
                let inner = at > 0 && at + 1 < hops;
                let mut others = walk.iter().copied().chain([last]);
                let clash = |other: u8| subnet(next).is_some() && subnet(other) == subnet(next);
                if [own, last].contains(&next)
                    || walk.contains(&next)
                    || !(mesh.link)(from, next)
                    || (inner && mesh.outer.contains(&next))
                    || (distinct_subnets && others.any(clash))
                {
                    continue;
                }
                longer.push(walk.iter().copied().chain([next]).collect());
            }
        }
        open = longer;
    }
    open.retain(|walk| (mesh.link)(*walk.last().unwrap(), last));
    open.into_iter()
        .map(|walk| walk.into_iter().chain([last]).collect())
        .collect()
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
    let permitted = self::walks(mesh, hops, last, own, distinct_subnets);
    assert_eq!(permitted.len(), walks);
    let mut seen: BTreeMap<Vec<u8>, u32> = permitted.into_iter().map(|walk| (walk, 0)).collect();
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
        *seen.get_mut(&names(&path)).expect("a permitted walk") += 1;
    }
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
fn walks_are_uniform_where_some_nodes_have_many_links_and_some_have_few() {
    // An irregular graph, in which walks drawn forward without looking ahead would be far from uniform.
    let mesh = mesh(11, &[1, 1, 2, 3, 3, 4], |from, to| {
        from > 11 || (u32::from(from) * u32::from(to)) % u32::from(from % 4 + 2) < 2
    });
    for (last, own, distinct) in [(2, 1, false), (5, 5, true), (12, 3, true)] {
        let count = walks(&mesh, 3, last, own, distinct).len();
        assert!(count > 30, "{count} walks");
        assert_uniform(&mesh, 3, last, own, distinct, count);
    }
}

#[test]
fn walks_are_uniform_when_only_the_ends_have_few_links() {
    // A full mesh and a leaf, 13, that reaches four of its nodes and is reached from four.
    let mesh = mesh(12, &[], |from, to| match (from, to) {
        (13, to) => (3..7).contains(&to),
        (from, 13) => (5..9).contains(&from),
        _ => true,
    });
    assert!(!mesh.is_sparse());
    for hops in [1, 2, 3] {
        let count = walks(&mesh, hops, 13, 13, false).len();
        assert_uniform(&mesh, hops, 13, 13, false, count);
    }
}

#[test]
fn nodes_that_are_not_inner_only_begin_or_end_a_path() {
    let mut mesh = mesh(8, &[], full);
    mesh.outer = vec![3, 4];
    let all = walks(&mesh, 3, 2, 1, false);
    assert!(all.iter().any(|walk| walk[0] == 3) && all.iter().any(|walk| walk[2] == 3));
    assert!(all.iter().all(|walk| walk[1] != 3 && walk[1] != 4));
    assert_uniform(&mesh, 3, 2, 1, false, all.len());
}

#[test]
fn the_subnet_of_a_final_node_that_does_not_mix_counts_too() {
    struct Off(Mesh);
    impl Topology for Off {
        fn mixes(&self) -> usize {
            self.0.mixes()
        }
        fn mix(&self, index: usize) -> MixRef {
            self.0.mix(index)
        }
        fn index_of(&self, id: &ShortId) -> Option<usize> {
            self.0.index_of(id)
        }
        fn hop_of(&self, id: &ShortId) -> Option<Hop> {
            self.0.hop_of(id)
        }
        fn subnet_of(&self, _: &ShortId) -> Option<u32> {
            Some(7)
        }
    }
    let off = Off(mesh(7, &[7, 7], full));
    let mut rng = rng(8);
    for _ in 0..200 {
        let path = names(&draw(&off, 3, &id(8), id(3), 0, true, &mut rng).unwrap());
        assert!(!path.contains(&1) && !path.contains(&2), "{path:?}");
    }
}

#[test]
fn nodes_without_a_subnet_share_it_with_nobody() {
    let mesh = mesh(8, &[5, 5], full);
    // 3 to 8 are free to stand together; 1 and 2 are never on one path.
    assert_uniform(&mesh, 2, 3, 99, true, 7 * 6 - 2);
}

#[test]
fn a_walk_that_hardly_any_draw_finds_is_listed() {
    // 58 nodes of one subnet and the two others: walks of three take both of these and one of the 58.
    let mut subnets = vec![1; 58];
    subnets.extend([2, 3]);
    let crowd = mesh(60, &subnets, full);
    let all = walks(&crowd, 3, 61, 100, true);
    assert_eq!(all.len(), 58 * 6);
    assert_uniform(&crowd, 3, 61, 100, true, all.len());
    let mut picked: BTreeMap<Vec<u32>, u32> = BTreeMap::new();
    let router = Router::new(&crowd, 3, &id(61), id(100), 0, true).unwrap();
    let mut rng = rng(11);
    for _ in 0..all.len() * 20 {
        let walk = search::pick(&router.rules, &router.sampler, &mut rng).unwrap();
        *picked.entry(walk).or_default() += 1;
    }
    assert_eq!(picked.len(), all.len(), "the list holds every walk");
    let chi2: f64 = picked
        .values()
        .map(|&n| (f64::from(n) - 20.0).powi(2) / 20.0)
        .sum();
    assert!(
        chi2 < 347.0 + 4.0 * (2.0 * 347.0f64).sqrt(),
        "chi-square {chi2}"
    );
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
