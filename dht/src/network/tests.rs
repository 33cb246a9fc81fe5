//! Tests of the network parameters: canonical form, identifiers, the rules of `check`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use proptest::prelude::*;

fn builtin() -> [NetworkParams; 3] {
    [
        NetworkParams::testnet(),
        NetworkParams::local(),
        NetworkParams::demo(Moment::from_millis(1_800_000_000_000)),
    ]
}

#[test]
fn builtin_networks_are_usable_and_round_trip() {
    for params in builtin() {
        params.check().unwrap();
        let bytes = params.to_cbor();
        assert!(bytes.len() <= MAX_PARAMS_LEN);
        assert_eq!(NetworkParams::from_cbor(&bytes).unwrap(), params);
    }
}

#[test]
fn any_change_makes_another_network() {
    let base = NetworkParams::local();
    let mut other = base.clone();
    other.rates_strong[2] += 1;
    assert_ne!(base.id(), other.id());
    assert_ne!(base.genesis_seed(), other.genesis_seed());
    assert_ne!(base.id().0, base.genesis_seed());
    assert_ne!(
        NetworkParams::demo(Moment::from_millis(1)).id(),
        NetworkParams::demo(Moment::from_millis(2)).id(),
        "two demos on one machine don't meet"
    );
}

#[test]
fn a_longer_integer_form_is_refused() {
    let params = NetworkParams {
        name: String::new(),
        ..NetworkParams::local()
    };
    let bytes = params.to_cbor();
    // Array head (2 B), empty text (1 B), then genesis as a u64: put a pow_effort of 0 in two bytes at the end instead.
    let mut long = bytes[..bytes.len() - 1].to_vec();
    long.extend([0x18, 0x00]);
    assert_eq!(NetworkParams::from_cbor(&long), Err(ParamsError::Malformed));
    let mut trailing = bytes.clone();
    trailing.push(0);
    assert_eq!(
        NetworkParams::from_cbor(&trailing),
        Err(ParamsError::Malformed)
    );
    assert_eq!(
        NetworkParams::from_cbor(&vec![0; MAX_PARAMS_LEN + 1]),
        Err(ParamsError::Malformed)
    );
}

#[test]
fn unusable_values_are_named() {
    let cases: [fn(&mut NetworkParams); 9] = [
        |p| p.epoch_ms = 0,
        |p| p.slot_ms = 7_777,
        |p| p.beat_close_ms = p.beat_open_ms,
        |p| p.key_lead_ms = p.cutoff_ms + 1,
        |p| p.mixing_hops = 5,
        |p| p.name = "x".repeat(65),
        |p| p.day_ms = 59_999,
        |p| p.day_ms = 0,
        |p| p.effort = 25,
    ];
    for spoil in cases {
        let mut params = NetworkParams::local();
        spoil(&mut params);
        assert!(matches!(
            NetworkParams::from_cbor(&params.to_cbor()),
            Err(ParamsError::Unusable(_))
        ));
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(params) = NetworkParams::from_cbor(&bytes) {
            prop_assert_eq!(params.to_cbor(), bytes);
        }
    }

    #[test]
    fn a_flipped_byte_is_refused_or_another_network(at in 0usize..200, bit in 0u8..8) {
        let params = NetworkParams::local();
        let mut bytes = params.to_cbor();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(other) = NetworkParams::from_cbor(&bytes) {
            prop_assert_ne!(other.id(), params.id());
        }
    }
}
