//! The prekey bundle: what a contact leaves in its prekey box so that others can greet it while it
//! is away.
//!
//! A bundle holds one X25519 key and one ML-KEM-768 key, is signed by the contact key and sealed
//! under a key that follows from contact key and day: holders see noise, whoever has the address
//! reads it. It is renewed daily and used by everyone who says hello that day (no one-time keys: a
//! holder could drain them). Not here: the prekey box itself (crate `storage`). SPEC §3.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Key, Tag, XChaCha20Poly1305, XNonce};
use ml_kem::kem::KeyExport;
use ml_kem::ml_kem_768;
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::identity::{ContactKey, ContactSecret};
use super::{Day, NetworkBytes, SEALED_LEN, derive};

/// Bytes of an ML-KEM-768 encapsulation key.
pub const KEM_KEY_LEN: usize = 1184;
/// Bytes of an ML-KEM-768 ciphertext.
pub const KEM_CIPHERTEXT_LEN: usize = 1088;
/// Bytes of a bundle before padding and sealing.
pub const BUNDLE_LEN: usize = 1 + 4 + 8 + 32 + KEM_KEY_LEN + 64;
/// Nonce in front of what is sealed for an address.
pub(crate) const NONCE_LEN: usize = 24;
/// What fits into a sealed object: 1,560 B.
pub(crate) const PLAIN_LEN: usize = SEALED_LEN - NONCE_LEN - 16;

const VERSION: u8 = 1;
const SIGNED: &[u8] = b"murmuration/v1/prekey";
const SEAL: &str = "murmuration/v1/prekey-seal";
const ID: &str = "murmuration/v1/prekey-id";

/// Why a bundle can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrekeyError {
    /// Not sealed by the owner of this address for this network and day.
    #[error("the contact's keys of that day are not readable")]
    Unreadable,
    /// Its time has passed.
    #[error("the contact's keys expired; it has not been online since")]
    Expired,
}

/// The secret half of a bundle: kept as long as hellos made with it may still arrive.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PrekeySecret {
    day: Day,
    valid_until: u64,
    x25519: [u8; 32],
    kem_seed: [u8; 64],
}

impl PrekeySecret {
    /// Bytes of [`to_bytes`](Self::to_bytes).
    pub const BYTES: usize = 4 + 8 + 32 + 64;

    /// Fresh keys for `day`; others may use them until `valid_until` (Unix ms).
    #[must_use]
    pub fn generate(day: Day, valid_until: u64, rng: &mut impl CryptoRng) -> Self {
        let mut secret = Self {
            day,
            valid_until,
            x25519: [0; 32],
            kem_seed: [0; 64],
        };
        rng.fill_bytes(&mut secret.x25519);
        rng.fill_bytes(&mut secret.kem_seed);
        secret
    }

    /// The day it was made for.
    #[must_use]
    pub const fn day(&self) -> Day {
        self.day
    }

    /// Until when others may use it, Unix ms.
    #[must_use]
    pub const fn valid_until(&self) -> u64 {
        self.valid_until
    }

    /// Names the bundle inside a hello: 8 bytes.
    #[must_use]
    pub fn id(&self) -> [u8; 8] {
        prekey_id(self.public().as_bytes())
    }

    /// The signed and sealed bundle, ready for the prekey box of its day.
    #[must_use]
    pub fn seal(
        &self,
        network: &NetworkBytes,
        owner: &ContactSecret,
        rng: &mut impl CryptoRng,
    ) -> Box<[u8; SEALED_LEN]> {
        let key = owner.public();
        let mut plain = Zeroizing::new([0; PLAIN_LEN]);
        let mut body = Vec::with_capacity(BUNDLE_LEN);
        body.push(VERSION);
        body.extend(self.day.to_le_bytes());
        body.extend(self.valid_until.to_le_bytes());
        body.extend(self.public().as_bytes());
        body.extend(self.kem().encapsulation_key().to_bytes());
        let signature = owner.sign(&signed_text(network, &key, &body));
        body.extend(signature);
        plain[..BUNDLE_LEN].copy_from_slice(&body);
        seal_for_address(&seal_key(network, &key, self.day), &plain, rng)
    }

    /// The bytes to save.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; Self::BYTES]> {
        let mut out = Zeroizing::new([0; Self::BYTES]);
        out[..4].copy_from_slice(&self.day.to_le_bytes());
        out[4..12].copy_from_slice(&self.valid_until.to_le_bytes());
        out[12..44].copy_from_slice(&self.x25519);
        out[44..].copy_from_slice(&self.kem_seed);
        out
    }

    /// From saved bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        Self {
            day: Day::from_le_bytes(array(&bytes[..4])),
            valid_until: u64::from_le_bytes(array(&bytes[4..12])),
            x25519: array(&bytes[12..44]),
            kem_seed: array(&bytes[44..]),
        }
    }

    pub(crate) fn x25519(&self) -> x25519_dalek::StaticSecret {
        x25519_dalek::StaticSecret::from(self.x25519)
    }

    pub(crate) const fn x25519_bytes(&self) -> &[u8; 32] {
        &self.x25519
    }

    pub(crate) fn kem(&self) -> ml_kem_768::DecapsulationKey {
        ml_kem_768::DecapsulationKey::from_seed(self.kem_seed.into())
    }

    pub(crate) fn public(&self) -> x25519_dalek::PublicKey {
        x25519_dalek::PublicKey::from(&self.x25519())
    }
}

impl std::fmt::Debug for PrekeySecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrekeySecret")
            .field("day", &self.day)
            .field("valid_until", &self.valid_until)
            .finish_non_exhaustive()
    }
}

/// A verified bundle of another contact.
#[derive(Clone)]
pub struct PrekeyBundle {
    day: Day,
    valid_until: u64,
    x25519: [u8; 32],
    kem: Box<ml_kem_768::EncapsulationKey>,
}

impl PrekeyBundle {
    /// Opens and verifies what the prekey box of `owner` on `day` held.
    ///
    /// # Errors
    /// [`PrekeyError::Unreadable`] for anything `owner` did not make for this network and day,
    /// [`PrekeyError::Expired`] after its validity.
    pub fn open(
        network: &NetworkBytes,
        owner: &ContactKey,
        day: Day,
        sealed: &[u8; SEALED_LEN],
        now: u64,
    ) -> Result<Self, PrekeyError> {
        let bundle = Self::read(network, owner, day, sealed).ok_or(PrekeyError::Unreadable)?;
        if now > bundle.valid_until {
            return Err(PrekeyError::Expired);
        }
        Ok(bundle)
    }

    /// The day it was made for: the hello goes to the inbox of that day or later.
    #[must_use]
    pub const fn day(&self) -> Day {
        self.day
    }

    /// Until when it may be used, Unix ms.
    #[must_use]
    pub const fn valid_until(&self) -> u64 {
        self.valid_until
    }

    pub(crate) fn id(&self) -> [u8; 8] {
        prekey_id(&self.x25519)
    }

    pub(crate) fn x25519(&self) -> x25519_dalek::PublicKey {
        x25519_dalek::PublicKey::from(self.x25519)
    }

    pub(crate) fn kem(&self) -> &ml_kem_768::EncapsulationKey {
        &self.kem
    }

    fn read(
        network: &NetworkBytes,
        owner: &ContactKey,
        day: Day,
        sealed: &[u8; SEALED_LEN],
    ) -> Option<Self> {
        let plain = open_for_address(&seal_key(network, owner, day), sealed)?;
        let (bundle, padding) = plain.split_at(BUNDLE_LEN);
        let (body, signature) = bundle.split_at(BUNDLE_LEN - 64);
        if body[0] != VERSION || padding.iter().any(|byte| *byte != 0) {
            return None;
        }
        let signature = ed25519_dalek::Signature::from_bytes(&array(signature));
        owner
            .verifying()?
            .verify_strict(&signed_text(network, owner, body), &signature)
            .ok()?;
        let stated: Day = Day::from_le_bytes(array(&body[1..5]));
        if stated != day {
            return None;
        }
        let kem: [u8; KEM_KEY_LEN] = array(&body[45..]);
        Some(Self {
            day,
            valid_until: u64::from_le_bytes(array(&body[5..13])),
            x25519: array(&body[13..45]),
            kem: Box::new(ml_kem_768::EncapsulationKey::new(&kem.into()).ok()?),
        })
    }
}

impl std::fmt::Debug for PrekeyBundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrekeyBundle")
            .field("day", &self.day)
            .field("valid_until", &self.valid_until)
            .finish_non_exhaustive()
    }
}

/// Seals 1,560 B for everybody who knows the address: `nonce 24 | ciphertext | tag 16`.
pub(crate) fn seal_for_address(
    key: &[u8; 32],
    plain: &[u8; PLAIN_LEN],
    rng: &mut impl CryptoRng,
) -> Box<[u8; SEALED_LEN]> {
    let mut out = Box::new([0; SEALED_LEN]);
    let mut nonce = [0; NONCE_LEN];
    rng.fill_bytes(&mut nonce);
    out[..NONCE_LEN].copy_from_slice(&nonce);
    let (body, tag) = out[NONCE_LEN..].split_at_mut(PLAIN_LEN);
    body.copy_from_slice(plain);
    let cipher = XChaCha20Poly1305::new(&Key::from(*key));
    // Fails only beyond 256 GiB; zeros then are unreadable, not leaking.
    match cipher.encrypt_inout_detached(&XNonce::from(nonce), &[], (&mut *body).into()) {
        Ok(made) => tag.copy_from_slice(&made),
        Err(_) => body.zeroize(),
    }
    out
}

/// Reverses [`seal_for_address`].
pub(crate) fn open_for_address(
    key: &[u8; 32],
    sealed: &[u8; SEALED_LEN],
) -> Option<Zeroizing<[u8; PLAIN_LEN]>> {
    let nonce: [u8; NONCE_LEN] = array(&sealed[..NONCE_LEN]);
    let (body, tag) = sealed[NONCE_LEN..].split_at(PLAIN_LEN);
    let mut plain = Zeroizing::new([0; PLAIN_LEN]);
    plain.copy_from_slice(body);
    let tag = Tag::try_from(tag).ok()?;
    XChaCha20Poly1305::new(&Key::from(*key))
        .decrypt_inout_detached(&XNonce::from(nonce), &[], plain.as_mut_slice().into(), &tag)
        .ok()?;
    Some(plain)
}

/// Copies a slice whose length the caller fixed; a shorter one leaves zeros.
pub(crate) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

fn prekey_id(x25519: &[u8; 32]) -> [u8; 8] {
    array(&derive(ID, &[x25519])[..8])
}

fn seal_key(network: &NetworkBytes, owner: &ContactKey, day: Day) -> [u8; 32] {
    derive(SEAL, &[network, owner.as_bytes(), &day.to_le_bytes()])
}

fn signed_text(network: &NetworkBytes, owner: &ContactKey, body: &[u8]) -> Vec<u8> {
    [SIGNED, network, owner.as_bytes(), body].concat()
}
