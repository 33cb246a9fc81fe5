//! Tests of the pool.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::sphinx::testkit::rng;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Against a sorted list: whatever goes in and is shed between, what is due comes out by deadline and nothing is lost.
    #[test]
    fn it_behaves_as_a_sorted_list(ops in proptest::collection::vec((0u8..4, 0u64..1_000), 0..300), seed: u64) {
        let mut rng = rng(seed);
        let mut pool = Pool::new(40);
        let mut model: Vec<(u64, usize)> = Vec::new();
        for (name, (op, value)) in ops.into_iter().enumerate() {
            match op {
                0 | 1 => {
                    model.push((value, name));
                    let full = pool.len() == 40;
                    let shed = pool.insert(Moment(value), (value, name), &mut rng);
                    prop_assert_eq!(shed.is_some(), full);
                    model.retain(|entry| Some(*entry) != shed);
                }
                2 => {
                    let shed = pool.shed(&mut rng);
                    prop_assert_eq!(shed.is_some(), !model.is_empty());
                    model.retain(|entry| Some(*entry) != shed);
                }
                _ => {
                    let due = pool.pop_due(Moment(value));
                    let earliest = model.iter().map(|entry| entry.0).min();
                    prop_assert_eq!(due.map(|entry| entry.0), earliest.filter(|&deadline| deadline <= value));
                    model.retain(|entry| Some(*entry) != due);
                }
            }
            prop_assert_eq!(pool.len(), model.len());
            prop_assert_eq!(pool.next_deadline(), model.iter().map(|entry| Moment(entry.0)).min());
        }
    }
}

#[test]
fn shedding_takes_each_as_likely_as_any_other() {
    let mut rng = rng(1);
    let mut shed = [0u32; 11];
    for _ in 0..11_000 {
        let mut pool = Pool::new(10);
        // Deadlines in an order of their own, so that age, deadline and place in the heap are all different.
        for name in 0..10u64 {
            assert_eq!(
                pool.insert(Moment(name * 7 % 10), name as usize, &mut rng),
                None
            );
        }
        shed[pool.insert(Moment(5), 10, &mut rng).unwrap()] += 1;
    }
    let chi2: f64 = shed
        .iter()
        .map(|&n| (f64::from(n) - 1_000.0).powi(2) / 1_000.0)
        .sum();
    assert!(
        chi2 < 29.6,
        "chi-square {chi2} with 10 degrees of freedom: {shed:?}"
    );
}

#[test]
fn equal_deadlines_leave_in_an_order_that_is_not_that_of_arrival() {
    let mut rng = rng(2);
    let mut pool = Pool::new(100);
    for name in 0..100 {
        pool.insert(Moment(1), name, &mut rng);
    }
    let out: Vec<i32> = core::iter::from_fn(|| pool.pop_due(Moment(1))).collect();
    let in_order = out.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!(
        (30..70).contains(&in_order),
        "{in_order} of 99 pairs ascend"
    );
}

#[test]
fn a_pool_without_room_keeps_nothing() {
    let mut pool = Pool::new(0);
    assert_eq!(pool.insert(Moment(1), 1, &mut rng(3)), Some(1));
    assert_eq!(pool.next_deadline(), None);
}
