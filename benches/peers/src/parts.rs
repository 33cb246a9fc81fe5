//! The bare parts that packets are made of, with the lengths that they have in ours, so that a hop can be added up.

use std::hint::black_box;

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit as _, StreamCipher as _};
use curve25519_dalek::ristretto::{RistrettoBasepointTable, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use rand_core::Rng as _;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::clock::{Figure, Lineup};
use crate::ours::rng;

pub const BY: &str = "part";
/// The right half of our wide block.
const RIGHT: usize = 1_787;
/// The same filled up to BLAKE3's chunks, as it is hashed.
const WHOLE_CHUNKS: usize = 2_048;
/// Five routing blocks, and the sixth that a hop lays behind them.
const BETA: usize = 180;
const BETA_LONGER: usize = 216;
/// What one hop's keys are derived from, and how many bytes they take.
const KEYS_FROM: usize = 32 + 1 + 32 + 4 + 16;
const KEYS: usize = 176;

const fn part(op: &'static str, bytes: usize) -> Figure {
    Figure::new(BY, op, bytes, 0)
}

pub fn register(lineup: &mut Lineup) {
    curve(lineup);
    symmetric(lineup);
}

fn scalar(seed: u64) -> Scalar {
    let mut wide = [0; 64];
    rng(seed).fill_bytes(&mut wide);
    Scalar::from_bytes_mod_order_wide(&wide)
}

fn curve(lineup: &mut Lineup) {
    let secret = StaticSecret::from([5; 32]);
    let public = PublicKey::from(&StaticSecret::from([6; 32]));
    // Against itself: how far this is from 1 is how far to trust the rest.
    lineup.steady(part("x25519", 0), move || {
        black_box(&secret).diffie_hellman(black_box(&public))
    });

    let (a, b) = (scalar(1), scalar(2));
    let point = RistrettoPoint::mul_base(&scalar(3));
    lineup.steady(part("ristretto_mul", 0), move || {
        black_box(point) * black_box(a)
    });
    lineup.steady(part("ristretto_mul_base", 0), move || {
        RistrettoPoint::mul_base(black_box(&a))
    });
    let table = RistrettoBasepointTable::create(&point);
    lineup.steady(part("ristretto_mul_tabled", 0), move || {
        black_box(&table) * black_box(&a)
    });
    lineup.steady(part("ristretto_table_create", 0), move || {
        RistrettoBasepointTable::create(black_box(&point))
    });
    let compressed = point.compress();
    lineup.steady(part("ristretto_decompress", 0), move || {
        black_box(compressed).decompress()
    });
    lineup.steady(part("ristretto_compress", 0), move || {
        black_box(point).compress()
    });
    let points: Vec<_> = (0..64)
        .map(|seed| RistrettoPoint::mul_base(&scalar(seed)))
        .collect();
    lineup.body(
        part("ristretto_compress_batch", 0).batch(64),
        move |count| {
            let start = crate::clock::now();
            for _ in 0..count / points.len() {
                black_box(RistrettoPoint::double_and_compress_batch(black_box(
                    &points,
                )));
            }
            crate::clock::now() - start
        },
    );
    lineup.steady(part("scalar_mul", 0), move || black_box(a) * black_box(b));
    let mut wide = [0; 64];
    rng(4).fill_bytes(&mut wide);
    lineup.steady(part("scalar_reduce_wide", 0), move || {
        Scalar::from_bytes_mod_order_wide(black_box(&wide))
    });
}

fn symmetric(lineup: &mut Lineup) {
    for length in [BETA_LONGER, 256, 1_536, RIGHT, 1_792, 2_048] {
        let mut bytes = vec![7; length];
        lineup.steady(part("chacha20", length), move || {
            let key = black_box([1; 32]);
            ChaCha20::new(&key.into(), &[0; 12].into()).apply_keystream(black_box(&mut bytes));
        });
    }
    for length in [BETA, RIGHT, WHOLE_CHUNKS] {
        let bytes = vec![7; length];
        lineup.steady(part("blake3_keyed", length), move || {
            blake3::keyed_hash(black_box(&[1; 32]), black_box(&bytes))
        });
    }
    derivation(lineup, part("derive_hop_keys", KEYS_FROM), KEYS);
    derivation(lineup, part("derive_round_keys", 32), 128);
}

/// BLAKE3 key derivation with the context string hashed each time, and with its state kept.
fn derivation(lineup: &mut Lineup, figure: Figure, out: usize) {
    const CONTEXT: &str = "murmuration/v1/sphinx-hop";
    let from = vec![7; figure.payload];
    let mut keys = vec![0; out];
    lineup.steady(figure, move || {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(black_box(&from));
        hasher.finalize_xof().fill(black_box(&mut keys));
    });
    let from = vec![7; figure.payload];
    let mut keys = vec![0; out];
    let context = blake3::Hasher::new_derive_key(CONTEXT);
    let figure = Figure {
        op: match figure.op {
            "derive_hop_keys" => "derive_hop_keys_kept",
            _ => "derive_round_keys_kept",
        },
        ..figure
    };
    lineup.steady(figure, move || {
        let mut hasher = context.clone();
        hasher.update(black_box(&from));
        hasher.finalize_xof().fill(black_box(&mut keys));
    });
}
