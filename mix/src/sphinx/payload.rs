//! The wide block: LIONESS over the 1,819 bytes of delta, from ChaCha20 and keyed BLAKE3, four rounds. In place. SPEC.md §5;
//! Anderson and Biham 1996.

use std::sync::LazyLock;

use blake3::hazmat::{ContextKey, HasherExt as _, hash_derive_key_context};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit as _, StreamCipher as _};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::geometry::{DELTA_LEN, PAYLOAD_KEY_LEN};

static CONTEXT: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("murmuration/v1/lioness"));
/// The left half is as long as a stream key and a hash.
const LEFT: usize = 32;
/// What is hashed of the right half: whole chunks of BLAKE3, two of which cost less than one and a piece.
const HASHED: usize = 2_048;

/// The four round keys of one wide block. Erased when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Lioness([[u8; LEFT]; 4]);

impl Lioness {
    pub(super) fn new(key: &[u8; PAYLOAD_KEY_LEN]) -> Self {
        let mut hasher = blake3::Hasher::new_from_context_key(&CONTEXT);
        hasher.update(key);
        let mut reader = hasher.finalize_xof();
        let mut keys = [[0; LEFT]; 4];
        for round in &mut keys {
            reader.fill(round);
        }
        let rounds = Self(keys);
        keys.zeroize();
        rounds
    }

    /// What a sender does to add a layer.
    pub(super) fn encrypt(&self, block: &mut [u8]) {
        let [k1, k2, k3, k4] = &self.0;
        let (left, right) = halves(block);
        stream(k1, left, right);
        hash(k2, left, right);
        stream(k3, left, right);
        hash(k4, left, right);
    }

    /// What a hop does to take a layer off: the rounds backwards.
    pub(super) fn decrypt(&self, block: &mut [u8]) {
        let [k1, k2, k3, k4] = &self.0;
        let (left, right) = halves(block);
        hash(k4, left, right);
        stream(k3, left, right);
        hash(k2, left, right);
        stream(k1, left, right);
    }
}

fn halves(block: &mut [u8]) -> (&mut [u8], &mut [u8]) {
    debug_assert_eq!(block.len(), DELTA_LEN);
    block.split_at_mut(LEFT)
}

/// right ^= ChaCha20(key = left ^ k, nonce 0)
fn stream(k: &[u8; LEFT], left: &[u8], right: &mut [u8]) {
    let mut key = *k;
    xor(&mut key, left);
    ChaCha20::new(&key.into(), &[0; 12].into()).apply_keystream(right);
    key.zeroize();
}

/// left ^= BLAKE3 keyed by k of right, with zeros up to [`HASHED`] bytes
fn hash(k: &[u8; LEFT], left: &mut [u8], right: &[u8]) {
    let mut padded = [0; HASHED];
    padded[..right.len()].copy_from_slice(right);
    xor(left, blake3::keyed_hash(k, &padded).as_bytes());
}

/// to ^= as much of from as there is
pub(super) fn xor(to: &mut [u8], from: &[u8]) {
    for (t, f) in to.iter_mut().zip(from) {
        *t ^= f;
    }
}
