//! Contact identities: the Ed25519 key in an address, its X25519 twin for the hello, and the
//! per-day blinded key under which holders know the inbox.
//!
//! A holder sees only the day's key `A_day = h·A` and can't link two days or find `A`; whoever has
//! the address computes `A_day`; only the owner can sign with it. Not here: the node's own libp2p
//! identity, which is never tied to a contact. Source: Tor's rend-spec-v3 §A.2 (key blinding).
//! SPEC §2.

use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::hazmat::ExpandedSecretKey;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{Day, NetworkBytes, derive, derive_into};

const BLIND_FACTOR: &str = "murmuration/v1/inbox-blind-factor";
const BLIND_PREFIX: &str = "murmuration/v1/inbox-blind-prefix";

/// A contact key: 32 bytes, a point of the prime-order group of Ed25519.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContactKey([u8; 32]);

impl ContactKey {
    /// Accepts an encoding of a point of prime order, and nothing else: with a small component the
    /// blinded keys of two days could be linked or forged.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Option<Self> {
        let point = CompressedEdwardsY(bytes).decompress()?;
        let canonical = point.compress().to_bytes() == bytes;
        (canonical && !point.is_small_order() && point.is_torsion_free()).then_some(Self(bytes))
    }

    /// The encoding.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The Ed25519 key, for signatures.
    #[must_use]
    pub fn verifying(&self) -> Option<VerifyingKey> {
        VerifyingKey::from_bytes(&self.0).ok()
    }

    /// The same point on the Montgomery curve, for Diffie-Hellman.
    #[must_use]
    pub fn x25519(&self) -> Option<x25519_dalek::PublicKey> {
        Some(x25519_dalek::PublicKey::from(
            self.verifying()?.to_montgomery().to_bytes(),
        ))
    }

    /// The key under which holders know this contact's inbox and prekey box on `day`.
    #[must_use]
    pub fn blinded(&self, network: &NetworkBytes, day: Day) -> Option<[u8; 32]> {
        let point = CompressedEdwardsY(self.0).decompress()?;
        Some(
            (point * blind_factor(network, self, day))
                .compress()
                .to_bytes(),
        )
    }
}

impl std::fmt::Debug for ContactKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Which contacts a node has must not leak by a stray `{:?}`; four bytes tell keys apart in tests.
        write!(
            f,
            "ContactKey({:02x}{:02x}{:02x}{:02x}…)",
            self.0[0], self.0[1], self.0[2], self.0[3]
        )
    }
}

/// The secret half of a contact address: a 32-byte Ed25519 seed. One per address given out.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ContactSecret([u8; 32]);

impl ContactSecret {
    /// A fresh identity.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        Self(seed)
    }

    /// From saved bytes.
    #[must_use]
    pub const fn from_bytes(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// The bytes to save.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> ContactKey {
        ContactKey(self.signing().verifying_key().to_bytes())
    }

    /// An Ed25519 signature by the contact key itself.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing().sign(message).to_bytes()
    }

    /// The secret of the day's inbox key.
    #[must_use]
    pub fn blinded(&self, network: &NetworkBytes, day: Day) -> BlindedSecret {
        let public = self.public();
        let expanded = ExpandedSecretKey::from(&self.0);
        let scalar = expanded.scalar * blind_factor(network, &public, day);
        let hash_prefix = derive(
            BLIND_PREFIX,
            &[network, &expanded.hash_prefix, &day.to_le_bytes()],
        );
        BlindedSecret {
            expanded: ExpandedSecretKey {
                scalar,
                hash_prefix,
            },
        }
    }

    pub(crate) fn x25519(&self) -> x25519_dalek::StaticSecret {
        x25519_dalek::StaticSecret::from(self.signing().to_scalar_bytes())
    }

    fn signing(&self) -> SigningKey {
        SigningKey::from_bytes(&self.0)
    }
}

impl std::fmt::Debug for ContactSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContactSecret(…)")
    }
}

/// The secret of one day's inbox key: signs reads and deletions of that day's inbox.
pub struct BlindedSecret {
    expanded: ExpandedSecretKey,
}

impl BlindedSecret {
    /// The day's public key, equal to [`ContactKey::blinded`].
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        VerifyingKey::from(&self.expanded).to_bytes()
    }

    /// An ordinary Ed25519 signature under the day's key.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let public = VerifyingKey::from(&self.expanded);
        let signature: Signature =
            ed25519_dalek::hazmat::raw_sign::<sha2::Sha512>(&self.expanded, message, &public);
        signature.to_bytes()
    }

    /// The key in the form mailbox operations take.
    #[must_use]
    pub const fn expanded(&self) -> &ExpandedSecretKey {
        &self.expanded
    }
}

impl std::fmt::Debug for BlindedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlindedSecret(…)")
    }
}

fn blind_factor(network: &NetworkBytes, key: &ContactKey, day: Day) -> Scalar {
    let mut wide = [0; 64];
    derive_into(
        BLIND_FACTOR,
        &[network, &key.0, &day.to_le_bytes()],
        &mut wide,
    );
    Scalar::from_bytes_mod_order_wide(&wide)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn both_halves_agree_on_every_day_and_days_differ() {
        let secret = ContactSecret::from_bytes([1; 32]);
        let mut seen = Vec::new();
        for day in [0, 1, 20_000, u32::MAX] {
            let blinded = secret.blinded(&[2; 32], day);
            assert_eq!(
                Some(blinded.public()),
                secret.public().blinded(&[2; 32], day)
            );
            let key = VerifyingKey::from_bytes(&blinded.public()).unwrap();
            let signature = Signature::from_bytes(&blinded.sign(b"read"));
            key.verify_strict(b"read", &signature).unwrap();
            key.verify_strict(b"reaD", &signature).unwrap_err();
            seen.push(blinded.public());
        }
        seen.push(secret.public().blinded(&[3; 32], 0).unwrap());
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 5);
    }

    #[test]
    fn the_two_curves_hold_the_same_key() {
        let secret = ContactSecret::from_bytes([4; 32]);
        let public = x25519_dalek::PublicKey::from(&secret.x25519());
        assert_eq!(Some(public), secret.public().x25519());
    }

    #[test]
    fn keys_outside_the_prime_order_group_are_refused() {
        let good = ContactSecret::from_bytes([5; 32]).public();
        assert_eq!(ContactKey::from_bytes(*good.as_bytes()), Some(good));
        let point = CompressedEdwardsY(*good.as_bytes()).decompress().unwrap();
        for torsion in &curve25519_dalek::constants::EIGHT_TORSION {
            let mixed = (point + torsion).compress().to_bytes();
            let pure = torsion.compress().to_bytes();
            assert_eq!(
                ContactKey::from_bytes(mixed).is_some(),
                mixed == *good.as_bytes()
            );
            assert_eq!(ContactKey::from_bytes(pure), None);
        }
        assert_eq!(ContactKey::from_bytes([0xff; 32]), None);
    }

    #[test]
    fn debug_shows_no_secret() {
        let secret = ContactSecret::from_bytes([0xab; 32]);
        assert_eq!(format!("{secret:?}"), "ContactSecret(…)");
        assert_eq!(
            format!("{:?}", secret.blinded(&[0; 32], 1)),
            "BlindedSecret(…)"
        );
    }
}
