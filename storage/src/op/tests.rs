//! Every operation: round trip, one encoding only, what a signature covers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::Range;

use proptest::prelude::*;

use super::*;
use crate::{SEALED_LEN, SURB_LEN, stamp::PROOF_LEN};

const NETWORK: [u8; 32] = [7; 32];

fn bytes<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    any::<[u8; 32]>().prop_map(|seed| {
        let mut out = [0; N];
        blake3::Hasher::new_keyed(&seed)
            .finalize_xof()
            .fill(&mut out);
        out
    })
}

/// Any operation, signatures and stamps at random.
fn op() -> impl Strategy<Value = Op> {
    let parts = (
        (
            0..9u8,
            any::<u32>(),
            bytes::<KEY_LEN>(),
            bytes::<SIG_LEN>(),
            bytes::<PROOF_LEN>(),
        ),
        (
            any::<u64>(),
            any::<u64>(),
            any::<u32>(),
            any::<u16>(),
            bytes::<16>(),
        ),
        (bytes::<SEALED_LEN>(), bytes::<SURB_LEN>()),
    );
    parts.prop_map(
        |(
            (kind, epoch, key, sig, stamp),
            (expires, issued, wait_ms, index, nonce),
            (sealed, surb),
        )| {
            let (expires, issued, stamp) = (Millis(expires), Millis(issued), Proof(stamp));
            let (ciphertext, surb): (Sealed, SurbBytes) = (Box::new(sealed), Box::new(surb));
            match kind {
                0 => Op::PutBox {
                    epoch,
                    id: key,
                    expires,
                    stamp,
                    sig,
                    ciphertext,
                },
                1 => Op::GetBox {
                    epoch,
                    id: key,
                    wait_ms,
                    surb,
                },
                2 => Op::DelBox {
                    epoch,
                    id: key,
                    sig,
                },
                3 => Op::StatBox {
                    epoch,
                    id: key,
                    surb,
                },
                4 => Op::PutInbox {
                    epoch,
                    key,
                    expires,
                    stamp,
                    ciphertext,
                },
                5 => Op::GetInbox {
                    epoch,
                    key,
                    index,
                    wait_ms,
                    sig,
                    surb,
                },
                6 => Op::DelInbox {
                    epoch,
                    key,
                    index,
                    nonce,
                    sig,
                },
                7 => Op::PutPrekey {
                    epoch,
                    key,
                    issued,
                    expires,
                    stamp,
                    sig,
                    ciphertext,
                },
                _ => Op::GetPrekey { epoch, key, surb },
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(op in op()) {
        let body = op.encode();
        prop_assert_eq!(Op::decode(&body).unwrap(), op);
    }

    /// Whatever decodes has been encoded in the one way there is: no byte is ignored.
    #[test]
    fn what_decodes_encodes_to_the_same(op in op(), at in 0..BODY_LEN, flip in 1u8..) {
        let mut body = op.encode();
        body[at] ^= flip;
        if let Ok(other) = Op::decode(&body) {
            prop_assert_ne!(&other, &op);
            prop_assert_eq!(other.encode(), body);
        }
    }

    #[test]
    fn random_signatures_do_not_hold(op in op()) {
        let unsigned = matches!(op, Op::GetBox { .. } | Op::StatBox { .. } | Op::PutInbox { .. } | Op::GetPrekey { .. });
        prop_assert_eq!(op.signature_holds(&NETWORK), unsigned);
    }
}

fn surb() -> SurbBytes {
    Box::new([3; SURB_LEN])
}

fn sealed() -> Sealed {
    Box::new([4; SEALED_LEN])
}

/// All signed operations, and for each the places of the bytes that its signature must cover (the stamp is not among them).
fn signed() -> Vec<(Op, Vec<usize>)> {
    let scope = Scope {
        network: NETWORK,
        epoch: 5,
    };
    let key = SigningKey::from_bytes(&[1; 32]);
    let one = ExpandedSecretKey::from_bytes(&[2; 64]);
    // A product, as blinding makes it: not a clamped scalar.
    let secret = ExpandedSecretKey {
        scalar: one.scalar * one.scalar,
        hash_prefix: [9; 32],
    };
    let all = |short: Range<usize>, long: Range<usize>| short.chain(long).collect();
    vec![
        (
            Op::put_box(&scope, &key, Millis(9), sealed(), Proof([5; 32])),
            all(2..46, 78..1742),
        ),
        (Op::del_box(&scope, &key), all(2..102, 0..0)),
        (
            Op::get_inbox(&scope, &secret, 3, 4, surb()),
            all(2..108, 108..385),
        ),
        (
            Op::del_inbox(&scope, &secret, 3, [6; 16]),
            all(2..120, 0..0),
        ),
        (
            Op::put_prekey(
                &scope,
                &secret,
                Millis(8),
                Millis(9),
                sealed(),
                Proof([5; 32]),
            ),
            all(2..54, 86..1750),
        ),
    ]
}

#[test]
fn signatures_hold_and_cover_every_field() {
    for (op, places) in signed() {
        assert!(op.signature_holds(&NETWORK), "{op:?}");
        assert!(!op.signature_holds(&[8; 32]));
        let body = op.encode();
        // Every byte of the short fields, a sample of the long ones.
        for at in places
            .iter()
            .copied()
            .filter(|at| *at < 160 || at % 37 == 0)
        {
            let mut other = body.clone();
            other[at] ^= 1;
            assert!(
                !Op::decode(&other).unwrap().signature_holds(&NETWORK),
                "byte {at} of kind {}",
                body[1]
            );
        }
    }
}

#[test]
fn a_signature_of_one_operation_serves_no_other() {
    let scope = Scope {
        network: NETWORK,
        epoch: 5,
    };
    let key = SigningKey::from_bytes(&[1; 32]);
    let Op::DelBox { epoch, id, sig } = Op::del_box(&scope, &key) else {
        unreachable!()
    };
    let op = Op::PutBox {
        epoch,
        id,
        expires: Millis(0),
        stamp: Proof([0; 32]),
        sig,
        ciphertext: sealed(),
    };
    assert!(!op.signature_holds(&NETWORK));
    let op = Op::DelInbox {
        epoch,
        key: id,
        index: 0,
        nonce: [0; 16],
        sig,
    };
    assert!(!op.signature_holds(&NETWORK));
}

#[test]
fn other_versions_kinds_and_fills_are_malformed() {
    let body = Op::stat_box(1, [2; 32], surb()).encode();
    for (at, value, error) in [
        (0, 0, Malformed::Version(0)),
        (0, 2, Malformed::Version(2)),
        (1, 0, Malformed::Kind(0)),
        (1, 10, Malformed::Kind(10)),
        (315, 1, Malformed::Fill),
        (1802, 1, Malformed::Fill),
    ] {
        let mut other = body.clone();
        other[at] = value;
        assert_eq!(Op::decode(&other), Err(error));
    }
}

#[test]
fn debug_shows_no_box() {
    assert_eq!(
        format!("{:?}", Op::stat_box(1, [2; 32], surb())),
        "StatBox { epoch: 1, .. }"
    );
}
