//! Stamps: the proof of work that a deposit carries, so that filling a stranger's disk costs something.
//!
//! The trait leaves room for other proofs (Equi-X, rate-limiting nullifiers); the default counts leading zero bits of BLAKE3. Spec: "Stamps".

use crate::{KEY_LEN, SEALED_LEN};

/// Bytes of a proof on the wire.
pub const PROOF_LEN: usize = 32;

/// A proof as it travels, 32 B. The hash proof uses the first 8 and asks the rest to be zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof(pub [u8; PROOF_LEN]);

/// What a stamp is bound to: network, kind of deposit, key and ciphertext, as one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject([u8; 32]);

impl Subject {
    /// Of a deposit into a pairwise box.
    #[must_use]
    pub fn put_box(network: &[u8; 32], id: &[u8; KEY_LEN], ciphertext: &[u8; SEALED_LEN]) -> Self {
        Self::new(b'b', network, id, ciphertext)
    }

    /// Of an inbox entry.
    #[must_use]
    pub fn put_inbox(
        network: &[u8; 32],
        key: &[u8; KEY_LEN],
        ciphertext: &[u8; SEALED_LEN],
    ) -> Self {
        Self::new(b'i', network, key, ciphertext)
    }

    /// Of a prekey box.
    #[must_use]
    pub fn put_prekey(
        network: &[u8; 32],
        key: &[u8; KEY_LEN],
        ciphertext: &[u8; SEALED_LEN],
    ) -> Self {
        Self::new(b'p', network, key, ciphertext)
    }

    fn new(
        kind: u8,
        network: &[u8; 32],
        key: &[u8; KEY_LEN],
        ciphertext: &[u8; SEALED_LEN],
    ) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("murmuration/v1/stamp-subject");
        hasher
            .update(network)
            .update(&[kind])
            .update(key)
            .update(blake3::hash(ciphertext).as_bytes());
        Self(hasher.finalize().into())
    }

    /// The 32 B a proof covers.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A kind of proof. Checking must be cheap; making one costs about 2^effort hashes.
pub trait Stamp: Send + Sync {
    /// A proof of at least `effort` bits. `start` spreads the search (any number; random is best). None if the search was given up.
    fn solve(&self, subject: &Subject, effort: u8, start: u64) -> Option<Proof>;
    /// Whether the proof has at least `effort` bits.
    fn holds(&self, subject: &Subject, proof: &Proof, effort: u8) -> bool;
}

/// Leading zero bits of a BLAKE3 hash over subject and an 8 B nonce.
#[derive(Clone, Copy, Debug, Default)]
pub struct HashStamp;

impl HashStamp {
    /// Bits beyond this are not searched for: 2^40 hashes are days of work.
    pub const MAX_EFFORT: u8 = 40;

    fn bits(subject: &Subject, nonce: [u8; 8]) -> u32 {
        let mut block = [0u8; 40];
        block[..32].copy_from_slice(&subject.0);
        block[32..].copy_from_slice(&nonce);
        // The subject is domain-separated and of fixed length, so a plain hash is enough here and costs one compression.
        let hash = blake3::hash(&block);
        let mut first = [0u8; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        u64::from_be_bytes(first).leading_zeros()
    }
}

impl Stamp for HashStamp {
    fn solve(&self, subject: &Subject, effort: u8, start: u64) -> Option<Proof> {
        if effort > Self::MAX_EFFORT {
            return None;
        }
        let mut nonce = start;
        while Self::bits(subject, nonce.to_le_bytes()) < u32::from(effort) {
            nonce = nonce.wrapping_add(1);
        }
        let mut proof = Proof::default();
        proof.0[..8].copy_from_slice(&nonce.to_le_bytes());
        Some(proof)
    }

    fn holds(&self, subject: &Subject, proof: &Proof, effort: u8) -> bool {
        let mut nonce = [0u8; 8];
        nonce.copy_from_slice(&proof.0[..8]);
        proof.0[8..].iter().all(|b| *b == 0) && Self::bits(subject, nonce) >= u32::from(effort)
    }
}

/// Stamp bits a holder asks for: `base`, one more (twice the work) from half full, two more from three quarters.
#[must_use]
pub fn effort_at(base: u8, used: u64, quota: u64) -> u8 {
    let (used, quota) = (u128::from(used), u128::from(quota));
    let steps = u8::from(used * 2 >= quota) + u8::from(used * 4 >= quota * 3);
    base.saturating_add(steps)
}

#[cfg(test)]
mod tests;
