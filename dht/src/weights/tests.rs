//! Tests of the rules of ages and weights.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use proptest::prelude::*;

fn params() -> NetworkParams {
    NetworkParams::testnet()
}

fn claim(weight: u8, age: u8, subnet: u32) -> Claim {
    Claim {
        declared: Capability::new(weight, true).unwrap(),
        age,
        subnet,
    }
}

fn weights(claims: &[Claim]) -> Vec<u8> {
    let granted = grant(&params(), claims);
    granted.iter().map(|s| s.capability.weight()).collect()
}

fn of_subnet(claims: &[Claim], subnet: u32) -> u64 {
    let weights = weights(claims);
    let pairs = claims.iter().zip(weights);
    pairs
        .filter(|(claim, _)| claim.subnet == subnet)
        .map(|(_, weight)| u64::from(weight))
        .sum()
}

#[test]
fn a_node_grows_up_in_two_steps() {
    let at = |age| grant(&params(), &[claim(8, age, 1)])[0];
    for (age, weight, holds) in [
        (0, 0, false),
        (1, 0, false),
        (2, 1, false),
        (11, 1, false),
        (12, 8, true),
        (15, 8, true),
    ] {
        let standing = at(age);
        assert_eq!(standing.age, age);
        assert_eq!(standing.capability.weight(), weight, "age {age}");
        assert_eq!(standing.capability.holder(), holds, "age {age}");
    }
    let young = grant(&NetworkParams::local(), &[claim(8, 0, 1)])[0];
    assert_eq!(young.capability, Capability::STRONG, "no maturity asked");
}

#[test]
fn a_small_mesh_has_the_floor_and_the_oldest_come_first() {
    // 20 of weight 1 in one subnet: 8 get it, the oldest.
    let mut claims: Vec<_> = (0..20).map(|i| claim(1, 2 + (i % 10), 7)).collect();
    let granted = weights(&claims);
    assert_eq!(granted.iter().map(|w| u32::from(*w)).sum::<u32>(), 8);
    for (claim, weight) in claims.iter().zip(&granted) {
        assert_eq!(*weight, u8::from(claim.age >= 8), "age {}", claim.age);
    }
    // Strong ones take turns with ordinary ones, not everything at once.
    claims = vec![claim(8, 12, 7), claim(8, 12, 7), claim(1, 12, 7)];
    assert_eq!(weights(&claims), [4, 3, 1]);
}

#[test]
fn without_the_subnet_rule_only_age_counts() {
    let claims = vec![claim(8, 12, 7); 40];
    let free = NetworkParams {
        subnet_rule: false,
        ..params()
    };
    let granted = grant(&free, &claims);
    assert!(granted.iter().all(|s| s.capability == Capability::STRONG));
    assert_eq!(of_subnet(&claims, 7), 8);
}

#[test]
fn who_states_no_subnet_weighs_one() {
    assert_eq!(weights(&[claim(8, 12, 0), claim(8, 12, 0)]), [1, 1]);
}

/// A node alone in each of 100 subnets, and 1,000 identities in one: they get a sixteenth.
#[test]
fn ten_times_as_many_from_one_subnet_get_a_sixteenth() {
    let mut claims: Vec<_> = (1..=160).map(|subnet| claim(1, 12, subnet)).collect();
    claims.extend(vec![claim(1, 12, 999); 1_600]);
    let won = of_subnet(&claims, 999);
    let total: u64 = weights(&claims).iter().map(|w| u64::from(*w)).sum();
    assert_eq!((won, total), (10, 170));
}

#[test]
fn standing_has_one_encoding() {
    let mut seen = 0;
    for weight in 0..=u8::MAX {
        for flags in 0..=u8::MAX {
            if let Some(standing) = Standing::from_bytes([weight, flags]) {
                assert_eq!(standing.to_bytes(), [weight, flags]);
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 9 * 2 * 16);
}

fn any_claims() -> impl Strategy<Value = Vec<Claim>> {
    let one = (0u8..=8, 0u8..=15, 0u32..12).prop_map(|(w, age, subnet)| claim(w, age, subnet));
    proptest::collection::vec(one, 0..120)
}

proptest! {
    #[test]
    fn no_subnet_exceeds_its_cap_and_nobody_gets_more_than_declared(claims in any_claims()) {
        let granted = weights(&claims);
        let total: u64 = granted.iter().map(|w| u64::from(*w)).sum();
        for (claim, weight) in claims.iter().zip(&granted) {
            prop_assert!(*weight <= claim.declared.weight());
        }
        for subnet in 1..12 {
            let sum = of_subnet(&claims, subnet);
            prop_assert!(sum <= SUBNET_FLOOR || sum * SUBNET_PART <= total, "{sum} of {total}");
        }
    }

    /// More identities in a full subnet win it nothing, and cost nobody else anything.
    #[test]
    fn a_full_subnet_gains_nothing_by_growing(claims in any_claims(), more in 1usize..200, age in 12u8..=15) {
        let mut full = claims;
        full.extend(vec![claim(8, 15, 3); 40]);
        let before = of_subnet(&full, 3);
        let others: Vec<_> = (0..12).filter(|s| *s != 3).map(|s| of_subnet(&full, s)).collect();
        let mut grown = full.clone();
        grown.extend(vec![claim(8, age, 3); more]);
        prop_assert_eq!(of_subnet(&grown, 3), before);
        let after: Vec<_> = (0..12).filter(|s| *s != 3).map(|s| of_subnet(&grown, s)).collect();
        prop_assert_eq!(after, others);
    }

    /// One node more never takes total weight away from the mesh.
    #[test]
    fn the_total_is_monotone(claims in any_claims(), weight in 0u8..=8, age in 0u8..=15, subnet in 0u32..14) {
        let sum = |claims: &[Claim]| weights(claims).iter().map(|w| u64::from(*w)).sum::<u64>();
        let mut more = claims.clone();
        more.push(claim(weight, age, subnet));
        prop_assert!(sum(&more) >= sum(&claims));
    }
}
