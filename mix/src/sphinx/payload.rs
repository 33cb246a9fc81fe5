//! The wide block: LIONESS over the 1,819 bytes of delta, from ChaCha20 and keyed BLAKE3, four rounds. SPEC.md §5; Anderson
//! and Biham 1996. The rounds work in a buffer of whole chunks and blocks: copying in and out costs less than odd lengths do.

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

/// Bytes of the right half.
const RIGHT: usize = DELTA_LEN - LEFT;
/// How much of it goes through the cipher: whole groups of the four blocks that its vector code makes at once. It makes what is
/// left over a block at a time, each at the price of two.
const STREAMED: usize = RIGHT.next_multiple_of(STREAM_GROUP);
/// Bytes of four ChaCha20 blocks.
pub(super) const STREAM_GROUP: usize = 256;

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
        let mut halves = Halves::of(block);
        halves.stream(k1);
        halves.hash(k2);
        halves.stream(k3);
        halves.hash(k4);
        halves.write(block);
    }

    /// What a hop does to take a layer off: the rounds backwards.
    pub(super) fn decrypt(&self, block: &mut [u8]) {
        let [k1, k2, k3, k4] = &self.0;
        let mut halves = Halves::of(block);
        halves.hash(k4);
        halves.stream(k3);
        halves.hash(k2);
        halves.stream(k1);
        halves.write(block);
    }
}

/// The block while it is worked on: its right half lies where it can be read in whole chunks.
struct Halves {
    left: [u8; LEFT],
    /// The right half, then zeros.
    right: [u8; HASHED],
}

impl Halves {
    fn of(block: &[u8]) -> Self {
        debug_assert_eq!(block.len(), DELTA_LEN);
        let mut halves = Self {
            left: [0; LEFT],
            right: [0; HASHED],
        };
        let (left, right) = block.split_at(LEFT);
        halves.left.copy_from_slice(left);
        halves.right[..RIGHT].copy_from_slice(right);
        halves
    }

    fn write(&self, block: &mut [u8]) {
        let (left, right) = block.split_at_mut(LEFT);
        left.copy_from_slice(&self.left);
        right.copy_from_slice(&self.right[..RIGHT]);
    }

    /// right ^= ChaCha20(key = left ^ k, nonce 0)
    fn stream(&mut self, k: &[u8; LEFT]) {
        let mut key = *k;
        xor(&mut key, &self.left);
        let mut cipher = ChaCha20::new(&key.into(), &[0; 12].into());
        cipher.apply_keystream(&mut self.right[..STREAMED]);
        self.right[RIGHT..STREAMED].fill(0);
        key.zeroize();
    }

    /// left ^= BLAKE3 keyed by k of right, with zeros up to [`HASHED`] bytes
    fn hash(&mut self, k: &[u8; LEFT]) {
        xor(
            &mut self.left,
            blake3::keyed_hash(k, &self.right).as_bytes(),
        );
    }
}

/// to ^= as much of from as there is
pub(super) fn xor(to: &mut [u8], from: &[u8]) {
    for (t, f) in to.iter_mut().zip(from) {
        *t ^= f;
    }
}
