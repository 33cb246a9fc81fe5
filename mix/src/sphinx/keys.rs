//! Mix keys, and the key schedule that turns one shared group element into everything a hop needs. SPEC.md §4.

use core::fmt;
use std::sync::LazyLock;

use blake3::hazmat::{ContextKey, HasherExt as _, hash_derive_key_context};

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit as _, StreamCipher as _};
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::geometry::{GAMMA_LEN, PAYLOAD_KEY_LEN, VERSION};
use super::unwrap::ReplayTag;
use crate::{NetworkId, ShortId};

/// The hash of the context string, which BLAKE3 would otherwise compute again for every packet.
static HOP_CONTEXT: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("murmuration/v1/sphinx-hop"));

/// 1/2 mod ℓ. Ristretto encodings can be computed together only as encodings of doubles, so batches multiply by halves.
static HALF: LazyLock<Scalar> = LazyLock::new(|| Scalar::from(2_u8).invert());

/// A relay's secret for one epoch: a non-zero scalar, 32 bytes. Erased when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MixSecret {
    scalar: Scalar,
    /// scalar / 2, for batches.
    half: Scalar,
}

impl MixSecret {
    /// A fresh key.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        Self::new(random_scalar(rng))
    }

    fn new(scalar: Scalar) -> Self {
        Self {
            scalar,
            half: halved(&scalar),
        }
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. Zero and non-canonical scalars are refused.
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let scalar = Option::<Scalar>::from(Scalar::from_canonical_bytes(*bytes))?;
        (scalar != Scalar::ZERO).then(|| Self::new(scalar))
    }

    /// The scalar, little-endian, to be kept encrypted at rest.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.scalar.to_bytes())
    }

    /// The key that the relay publishes.
    pub fn public(&self) -> MixPublic {
        let point = RistrettoPoint::mul_base(&self.scalar);
        MixPublic {
            point,
            bytes: point.compress().to_bytes(),
        }
    }

    pub(super) fn scalar(&self) -> &Scalar {
        &self.scalar
    }

    pub(super) fn half(&self) -> &Scalar {
        &self.half
    }
}

impl fmt::Debug for MixSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MixSecret(..)")
    }
}

/// A relay's public key for one epoch: a Ristretto255 element other than the identity, 32 bytes.
#[derive(Clone, Copy)]
pub struct MixPublic {
    point: RistrettoPoint,
    bytes: [u8; 32],
}

impl MixPublic {
    /// Reads a published key. The identity and anything but the one encoding of an element are refused.
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        Some(Self {
            point: decode_element(bytes)?,
            bytes: *bytes,
        })
    }

    /// The one encoding of the element.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.bytes
    }

    pub(super) fn point(&self) -> &RistrettoPoint {
        &self.point
    }
}

impl PartialEq for MixPublic {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for MixPublic {}

impl fmt::Debug for MixPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MixPublic({:02x}{:02x}…)", self.bytes[0], self.bytes[1])
    }
}

/// What a hop's keys are bound to besides the shared element: a header made for another network, epoch or relay opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyContext {
    /// The network.
    pub network: NetworkId,
    /// The epoch of the relay's key.
    pub epoch: u32,
    /// The relay.
    pub relay: ShortId,
}

/// Everything one hop derives from the shared element. Erased when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct HopKeys {
    mac: [u8; 32],
    stream: [u8; 32],
    pub(super) payload: [u8; PAYLOAD_KEY_LEN],
    pub(super) blinding: Scalar,
    tag: [u8; 16],
}

impl HopKeys {
    /// One BLAKE3 key derivation: 176 bytes out of shared element, version, network, epoch and relay.
    pub(super) fn derive(shared: &CompressedRistretto, context: &KeyContext) -> Self {
        let mut hasher = blake3::Hasher::new_from_context_key(&HOP_CONTEXT);
        hasher.update(shared.as_bytes());
        hasher.update(&[VERSION]);
        hasher.update(&context.network.0);
        hasher.update(&context.epoch.to_le_bytes());
        hasher.update(&context.relay.0);
        let mut reader = hasher.finalize_xof();
        let mut keys = Self {
            mac: [0; 32],
            stream: [0; 32],
            payload: [0; PAYLOAD_KEY_LEN],
            blinding: Scalar::ZERO,
            tag: [0; 16],
        };
        let mut wide = Zeroizing::new([0; 64]);
        reader.fill(&mut keys.mac);
        reader.fill(&mut keys.stream);
        reader.fill(&mut keys.payload);
        reader.fill(wide.as_mut_slice());
        reader.fill(&mut keys.tag);
        // Full width: a short factor would make alpha' = b·alpha linkable by an interval discrete logarithm.
        keys.blinding = Scalar::from_bytes_mod_order_wide(&wide);
        keys
    }

    /// All keys for the vectors.
    #[cfg(test)]
    pub(super) fn show(&self) -> serde_json::Value {
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        serde_json::json!({
            "mac": hex(&self.mac),
            "stream": hex(&self.stream),
            "payload": hex(&self.payload),
            "blinding": hex(self.blinding.as_bytes()),
        })
    }

    /// The authentication code over beta.
    pub(super) fn gamma(&self, beta: &[u8]) -> [u8; GAMMA_LEN] {
        let mut gamma = [0; GAMMA_LEN];
        gamma.copy_from_slice(&blake3::keyed_hash(&self.mac, beta).as_bytes()[..GAMMA_LEN]);
        gamma
    }

    /// The stream that hides beta; it starts at its first byte. The key serves one packet, so the nonce is zero.
    pub(super) fn stream(&self, bytes: &mut [u8]) {
        ChaCha20::new(&self.stream.into(), &[0; 12].into()).apply_keystream(bytes);
    }

    pub(super) fn tag(&self) -> ReplayTag {
        ReplayTag(self.tag)
    }
}

/// scalar / 2 mod ℓ.
pub(super) fn halved(scalar: &Scalar) -> Scalar {
    scalar * *HALF
}

/// A group element from its one encoding; the identity is none of ours.
pub(super) fn decode_element(bytes: &[u8; 32]) -> Option<RistrettoPoint> {
    // Encodings are canonical, and this is the identity's: comparing bytes spares four field multiplications.
    if *bytes == [0; 32] {
        return None;
    }
    CompressedRistretto(*bytes).decompress()
}

/// A uniform non-zero scalar.
pub(super) fn random_scalar(rng: &mut impl CryptoRng) -> Scalar {
    let mut wide = Zeroizing::new([0; 64]);
    loop {
        rng.fill_bytes(wide.as_mut_slice());
        let scalar = Scalar::from_bytes_mod_order_wide(&wide);
        if scalar != Scalar::ZERO {
            return scalar;
        }
    }
}
