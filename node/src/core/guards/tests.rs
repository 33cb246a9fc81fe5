//! Tests of the guards: kept, replaced, spread, and never many.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use dht::network::NetworkParams;
use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::sim::crowd::{self, Declared};

const OWN: NodeId = NodeId([0; 32]);
const NOW: Moment = Moment::from_secs(2_000_000_000);

fn crowd(weights: &[u8], subnets: &[u32]) -> Arc<Directory> {
    let nodes = weights.iter().enumerate().map(|(i, weight)| Declared {
        weight: *weight,
        subnet: subnets.get(i).copied().unwrap_or(0),
    });
    crowd::directory(&Arc::new(NetworkParams::testnet()), 1, 3, nodes).unwrap()
}

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn everyone(directory: &Directory) -> BTreeSet<ShortId> {
    directory.nodes().map(|entry| entry.short()).collect()
}

#[test]
fn three_are_drawn_and_kept_over_a_restart_and_for_weeks() {
    let directory = crowd(&[1; 20], &[]);
    let links = everyone(&directory);
    let mut guards = Guards::default();
    assert!(guards.tend(NOW, &directory, &OWN, &links, &mut rng(1)));
    let first = guards.in_use().to_vec();
    assert_eq!(first.len(), GUARDS);
    let mut again = Guards::from_bytes(&guards.to_bytes());
    let later = NOW + Span::from_secs(24 * 24 * 3_600);
    assert!(!again.tend(later, &directory, &OWN, &links, &mut rng(2)));
    assert_eq!(again.in_use(), first);
    let over = NOW + KEEP + KEEP_VARIES;
    assert!(again.tend(over, &directory, &OWN, &links, &mut rng(3)));
    assert_ne!(again.in_use(), first);
    assert!(Guards::from_bytes(b"damaged").listed.is_empty());
}

#[test]
fn they_are_drawn_by_weight_and_from_subnets_of_their_own() {
    // One node of weight 8 among 16 of weight 1, and a subnet with eight of those.
    let mut weights = vec![1; 17];
    weights[16] = 8;
    let subnets = [7; 8];
    let directory = crowd(&weights, &subnets);
    let heavy = directory
        .nodes()
        .find(|entry| entry.capability().weight() == 8)
        .unwrap()
        .node();
    let mut first = 0;
    for seed in 0..600 {
        let mut guards = Guards::default();
        guards.tend(NOW, &directory, &OWN, &BTreeSet::new(), &mut rng(seed));
        first += usize::from(guards.in_use()[0] == heavy);
        let crowded = guards
            .in_use()
            .iter()
            .filter(|node| directory.by_node(node).unwrap().subnet() == 7);
        assert!(crowded.count() <= 1);
    }
    // 8 of 24: 200 expected, deviation 11.5.
    assert!((150..250).contains(&first), "{first}");
}

#[test]
fn one_that_is_away_is_replaced_and_used_again_when_back() {
    let all = crowd(&[1; 20], &[]);
    let links = everyone(&all);
    let mut guards = Guards::default();
    guards.tend(NOW, &all, &OWN, &links, &mut rng(1));
    let first = guards.in_use().to_vec();
    // Without a link to it, but with links to the others.
    let gone = all.by_node(&first[0]).unwrap().short();
    let others: BTreeSet<_> = links.iter().copied().filter(|link| *link != gone).collect();
    assert!(
        !guards.tend(NOW, &all, &OWN, &others, &mut rng(2)),
        "patience"
    );
    assert!(guards.tend(NOW + PATIENCE, &all, &OWN, &others, &mut rng(2)));
    assert_eq!(guards.in_use()[..2], first[1..]);
    assert_eq!(guards.in_use().len(), GUARDS);
    assert!(!guards.tend(NOW + PATIENCE + AGAIN, &all, &OWN, &links, &mut rng(3)));
    assert_eq!(guards.in_use(), first);
}

#[test]
fn without_any_link_nobody_is_replaced() {
    let directory = crowd(&[1; 20], &[]);
    let mut guards = Guards::default();
    guards.tend(NOW, &directory, &OWN, &BTreeSet::new(), &mut rng(1));
    let first = guards.in_use().to_vec();
    for minutes in 1..600 {
        let now = NOW + Span::from_secs(minutes * 60);
        assert!(!guards.tend(now, &directory, &OWN, &BTreeSet::new(), &mut rng(2)));
    }
    assert_eq!(guards.in_use(), first);
}

#[test]
fn whoever_knocks_guards_out_meets_the_end_of_the_list() {
    let directory = crowd(&[1; 60], &[]);
    let all = everyone(&directory);
    let mut guards = Guards::default();
    let mut now = NOW;
    guards.tend(now, &directory, &OWN, &all, &mut rng(1));
    let kept = guards.in_use()[2];
    let kept = directory.by_node(&kept).unwrap().short();
    for _ in 0..200 {
        // Only one guard's link ever stays up.
        now += PATIENCE;
        guards.tend(now, &directory, &OWN, &BTreeSet::from([kept]), &mut rng(2));
    }
    assert_eq!(guards.listed.len(), MAX_LISTED);
    assert!(
        guards
            .in_use()
            .iter()
            .any(|node| directory.by_node(node).unwrap().short() == kept)
    );
}

#[test]
fn a_newcomers_first_choice_among_few_is_not_for_a_month() {
    let few = crowd(&[1; 7], &[]);
    let many = crowd(&[1; 40], &[]);
    let mut guards = Guards::default();
    guards.tend(NOW, &few, &OWN, &BTreeSet::new(), &mut rng(1));
    let rash = guards.listed.clone();
    assert!(guards.tend(NOW, &many, &OWN, &BTreeSet::new(), &mut rng(2)));
    assert!(guards.listed.iter().all(|guard| !rash.contains(guard)));
    let settled = guards.in_use().to_vec();
    assert!(!guards.tend(NOW, &many, &OWN, &BTreeSet::new(), &mut rng(3)));
    assert_eq!(guards.in_use(), settled);
}
