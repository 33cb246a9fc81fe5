//! Tests of the flock: everyone in a small mesh, never fewer than 16, duty in proportion to weight.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::{
    descriptor::Capability,
    epoch,
    testing::{TestNode, nodes, params, rng},
};
use mix::{
    route::{self, Topology},
    time::Span,
};

fn directory(nodes: &[TestNode]) -> Arc<Directory> {
    Arc::new(Directory::build(
        &params(),
        1,
        [2; 32],
        nodes.iter().map(|node| node.records(1)),
    ))
}

#[test]
fn a_small_mesh_is_always_on_duty() {
    let mut all = nodes(&params(), EVERYONE_UP_TO + 1);
    all[0].capability = Capability::LEAF;
    let directory = directory(&all);
    for slot in 0..20 {
        let flock = Flock::new(directory.clone(), slot);
        assert_eq!(flock.len(), EVERYONE_UP_TO as usize);
        assert!(!flock.has(&all[0].short()), "a leaf mixes for nobody");
    }
}

#[test]
fn duty_rotates_and_never_falls_below_the_floor() {
    let directory = directory(&nodes(&params(), 64));
    let (mut duty, mut sizes) = (vec![0u32; 64], Vec::new());
    for slot in 0..600 {
        let flock = Flock::new(directory.clone(), slot);
        assert!(flock.len() >= MIN_ON_DUTY as usize);
        sizes.push(flock.len());
        for (i, count) in duty.iter_mut().enumerate() {
            *count += u32::from(flock.on_duty(i));
        }
        assert_eq!(
            Flock::new(directory.clone(), slot).members(),
            flock.members(),
            "deterministic"
        );
    }
    let mean = sizes.iter().sum::<usize>() as f64 / 600.0;
    assert!((16.0..20.0).contains(&mean), "mean size {mean}");
    // 600 slots × ~17/64: each node serves about 160 times.
    assert!(
        duty.iter().all(|count| (110..230).contains(count)),
        "{duty:?}"
    );
}

#[test]
fn duty_is_in_proportion_to_weight() {
    let mut all = nodes(&params(), 200);
    for node in all.iter_mut().take(20) {
        node.capability = Capability::STRONG;
    }
    let strong: Vec<_> = all[..20].iter().map(TestNode::short).collect();
    let directory = directory(&all);
    let (mut of_strong, mut of_plain) = (0usize, 0usize);
    for slot in 0..1_500 {
        let flock = Flock::new(directory.clone(), slot);
        let on_duty = strong.iter().filter(|short| flock.has(short)).count();
        of_strong += on_duty;
        of_plain += flock.len() - on_duty;
    }
    let ratio = (of_strong as f64 / 20.0) / (of_plain as f64 / 180.0);
    assert!(
        (7.0..9.0).contains(&ratio),
        "weight 8 serves 8 times as often: {ratio}"
    );
}

#[test]
fn the_target_follows_the_traffic_and_stays_in_bounds() {
    let params = params();
    let totals = |mixes: u32, rate_mhz: u64| Totals {
        mixes,
        weight: u64::from(mixes),
        rate_mhz,
    };
    // 1,000 nodes at 1 packet/s, 3 hops of 0.2 s, 12 in the pool: 50 on duty.
    assert_eq!(target(&params, &totals(1_000, 1_000_000)), 50);
    // Strong packets want 24 where fast ones want 12: with equal delays, half as many pools.
    let hasty = NetworkParams {
        delay_ms: [200, 200, 10_000],
        ..(*params).clone()
    };
    assert_eq!(target(&hasty, &totals(1_000, 1_000_000)), 25);
    assert_eq!(target(&params, &totals(1_000, 0)), MIN_ON_DUTY);
    assert_eq!(target(&params, &totals(1_000, u64::MAX)), 1_000);
    assert_eq!(target(&params, &totals(20, 0)), 20);
    assert_eq!(threshold(0, &totals(1_000, 0), 50), 0);
    assert_eq!(threshold(8, &totals(4, 0), 4), 1 << 64);
    assert_eq!(threshold(1, &totals(1_000, 0), 500), 1 << 63);
}

#[test]
fn packets_wait_longer_where_the_traffic_is_thin_and_never_shorter() {
    let params = NetworkParams::testnet();
    let totals = |mixes: u32, rate_mhz: u64| Totals {
        mixes,
        weight: u64::from(mixes),
        rate_mhz,
    };
    let waits =
        |mixes, rate| hop_delays(&params, &totals(mixes, rate)).map(|span| span.as_millis());
    // Dense: 50 on duty get 3,000 packets/s together, 24 of them in 0.4 s.
    assert_eq!(waits(1_000, 1_000_000), [200, 1_000, 10_000]);
    // Sixteen on duty, 8 packets/s each: 24 in 3 s.
    assert_eq!(waits(1_000, 42_667), [200, 2_999, 10_000]);
    // 1 packet/s each: 24 s would be right.
    assert_eq!(waits(1_000, 5_334), [200, 4_000, 23_997]);
    assert_eq!(waits(1_000, 1), [200, 4_000, 60_000]);
    assert_eq!(waits(1_000, 0), [200, 4_000, 60_000]);
    let pool = |mean| pool_milli(&params, &totals(1_000, 42_667), 16, mean);
    assert_eq!(pool(Span::from_millis(2_999)), 23_992);
}

#[test]
fn near_the_least_size_the_flock_is_not_larger_than_it_should_be() {
    assert_eq!([15, 16, 20, 23, 24, 50].map(aim), [15, 0, 12, 21, 24, 50]);
    let directory = directory(&nodes(&params(), 200));
    for target in [16u64, 18, 20, 23] {
        let totals = Totals {
            rate_mhz: target * 20_000,
            ..directory.totals()
        };
        assert_eq!(u64::from(super::target(&params(), &totals)), target);
        let size = |slot| Flock::with_totals(directory.clone(), &totals, slot).len();
        let pools: f64 = (0..400)
            .map(|slot| 12.0 * target as f64 / size(slot) as f64)
            .sum();
        assert!(
            pools / 400.0 >= 12.0,
            "{} packets at {target}",
            pools / 400.0
        );
    }
}

#[test]
fn slots_tile_time() {
    let params = params();
    let start = epoch::start_of(&params, 0);
    assert_eq!(slot_at(&params, start), 0);
    assert_eq!(slot_at(&params, slot_start(&params, 77)), 77);
    assert_eq!(
        slot_at(&params, start + Span::from_millis(params.slot_ms)),
        1
    );
    assert_eq!(slot_at(&params, Moment(0)), 0);
    assert_eq!(
        slot_at(&params, epoch::start_of(&params, 1)),
        params.epoch_ms / params.slot_ms
    );
}

#[test]
fn routes_over_the_flock_use_only_its_members() {
    let all = nodes(&params(), 60);
    let flock = Flock::new(directory(&all), 3);
    let mut rng = rng(4);
    let sender = all
        .iter()
        .rev()
        .find(|node| flock.has(&node.short()))
        .unwrap();
    let off_duty = all.iter().find(|node| !flock.has(&node.short())).unwrap();
    for i in 0..flock.mixes() {
        assert_eq!(flock.index_of(&flock.mix(i).hop.id), Some(i));
    }
    for _ in 0..100 {
        let path = route::draw(
            &flock,
            3,
            &off_duty.short(),
            sender.short(),
            6,
            false,
            &mut rng,
        )
        .unwrap();
        assert!(path[..3].iter().all(|hop| flock.has(&hop.id)));
        assert_eq!(path[3].id, off_duty.short());
    }
}
