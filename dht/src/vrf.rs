//! A random number that its maker can't choose and everyone can check: a verifiable random function over Ristretto255.
//!
//! Witnesses draw the seeds of later epochs with it. The proof has the shape of RFC 9381's ECVRF: Gamma = x·H, and a Schnorr proof
//! that Gamma over H and the public key over the base have one exponent. One key and one input have exactly one output, however
//! the proof was made. Holds [`VrfSecret`], [`VrfPublic`], [`Proof`] and [`Output`]. SPEC.md §13.

use crate::id::{derive, derive_wide};
use core::fmt;
use curve25519_dalek::{
    RistrettoPoint, Scalar, ristretto::CompressedRistretto, traits::IsIdentity,
    traits::VartimeMultiscalarMul,
};
use ed25519_dalek::SigningKey;
use mix::NetworkId;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a proof.
pub const PROOF_LEN: usize = 80;

/// What a witness of epoch `e` evaluates: `derive("vrf-input", network ‖ seed of e ‖ e)`.
pub fn input(network: &NetworkId, seed: &[u8; 32], epoch: u32) -> [u8; 32] {
    derive(
        "murmuration/v1/vrf-input",
        &[&network.0, seed, &epoch.to_le_bytes()],
    )
}

/// The secret half: a scalar that follows from the identity, so that a restored node keeps it. Wiped when dropped.
pub struct VrfSecret {
    scalar: Scalar,
    /// Hashed into every nonce.
    nonce_key: [u8; 32],
    public: VrfPublic,
}

impl VrfSecret {
    /// The VRF key that belongs to an identity.
    pub fn of_identity(identity: &SigningKey) -> Self {
        let secret = Zeroizing::new(identity.to_bytes());
        let wide = Zeroizing::new(derive_wide("murmuration/v1/vrf-key", &[secret.as_slice()]));
        // Zero with probability 2⁻²⁵², and then everyone refuses the public half.
        let scalar = Scalar::from_bytes_mod_order_wide(&wide);
        let point = RistrettoPoint::mul_base(&scalar);
        Self {
            scalar,
            nonce_key: derive("murmuration/v1/vrf-nonce-key", &[secret.as_slice()]),
            public: VrfPublic {
                point,
                bytes: point.compress().to_bytes(),
            },
        }
    }

    /// The public half, for the descriptor.
    pub fn public(&self) -> VrfPublic {
        self.public
    }

    /// The one output for an input, and a proof of it. The same input gives the same proof.
    pub fn prove(&self, input: &[u8; 32]) -> Proof {
        let base = hash_to_point(&self.public.bytes, input);
        let base_bytes = base.compress().to_bytes();
        let gamma_bytes = (base * self.scalar).compress().to_bytes();
        // No randomness: a nonce that repeats with another challenge would give the key away.
        let wide = Zeroizing::new(derive_wide(
            "murmuration/v1/vrf-nonce",
            &[&self.nonce_key, &base_bytes],
        ));
        let nonce = Zeroizing::new(Scalar::from_bytes_mod_order_wide(&wide));
        let commitments = [RistrettoPoint::mul_base(&nonce), base * *nonce];
        let challenge = challenge(&self.public.bytes, &base_bytes, &gamma_bytes, &commitments);
        let response = *nonce + challenge_scalar(&challenge) * self.scalar;
        let mut bytes = [0; PROOF_LEN];
        bytes[..32].copy_from_slice(&gamma_bytes);
        bytes[32..48].copy_from_slice(&challenge);
        bytes[48..].copy_from_slice(response.as_bytes());
        Proof { bytes }
    }
}

impl Drop for VrfSecret {
    fn drop(&mut self) {
        self.scalar.zeroize();
        self.nonce_key.zeroize();
    }
}

impl fmt::Debug for VrfSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VrfSecret(…)")
    }
}

/// A usable public key: a canonical point that is not the identity.
#[derive(Clone, Copy, Debug)]
pub struct VrfPublic {
    point: RistrettoPoint,
    bytes: [u8; 32],
}

impl VrfPublic {
    /// Reads 32 B; `None` unless usable.
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let point = CompressedRistretto(*bytes).decompress()?;
        (!point.is_identity()).then_some(Self {
            point,
            bytes: *bytes,
        })
    }

    /// The 32 B of a descriptor.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.bytes
    }
}

impl PartialEq for VrfPublic {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for VrfPublic {}

/// What a proof proves: 32 B that nobody could choose. Compares byte by byte; the lowest one of an epoch makes a seed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Output(pub [u8; 32]);

/// Gamma 32 ‖ c 16 ‖ s 32. Holding one means nothing before [`verify`](Self::verify).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proof {
    bytes: [u8; PROOF_LEN],
}

impl Proof {
    /// Takes 80 B as they are.
    pub fn from_bytes(bytes: [u8; PROOF_LEN]) -> Self {
        Self { bytes }
    }

    /// The 80 wire bytes.
    pub fn as_bytes(&self) -> &[u8; PROOF_LEN] {
        &self.bytes
    }

    /// The output, if the proof holds for this key and input: Gamma and s canonical, and c what they hash to.
    pub fn verify(&self, public: &VrfPublic, input: &[u8; 32]) -> Option<Output> {
        let (gamma_bytes, rest) = self.bytes.split_first_chunk::<32>()?;
        let (c, rest) = rest.split_first_chunk::<16>()?;
        let response = Option::<Scalar>::from(Scalar::from_canonical_bytes(rest.try_into().ok()?))?;
        let gamma = CompressedRistretto(*gamma_bytes).decompress()?;
        let base = hash_to_point(&public.bytes, input);
        let minus = -challenge_scalar(c);
        let commitments = [
            RistrettoPoint::vartime_double_scalar_mul_basepoint(&minus, &public.point, &response),
            RistrettoPoint::vartime_multiscalar_mul([response, minus], [base, gamma]),
        ];
        let base_bytes = base.compress().to_bytes();
        let expected = challenge(&public.bytes, &base_bytes, gamma_bytes, &commitments);
        (expected == *c).then(|| output(gamma_bytes))
    }

    /// The output that a proof verified before stands for.
    pub(crate) fn output_unchecked(&self) -> Output {
        let mut gamma = [0; 32];
        gamma.copy_from_slice(&self.bytes[..32]);
        output(&gamma)
    }
}

fn output(gamma: &[u8; 32]) -> Output {
    Output(derive("murmuration/v1/vrf-output", &[gamma]))
}

/// The key is hashed in, so that no two keys share a base.
fn hash_to_point(public: &[u8; 32], input: &[u8; 32]) -> RistrettoPoint {
    RistrettoPoint::from_uniform_bytes(&derive_wide("murmuration/v1/vrf-point", &[public, input]))
}

fn challenge(
    public: &[u8; 32],
    base: &[u8; 32],
    gamma: &[u8; 32],
    commitments: &[RistrettoPoint; 2],
) -> [u8; 16] {
    let [left, right] = commitments.map(|point| point.compress().to_bytes());
    let hash = derive(
        "murmuration/v1/vrf-challenge",
        &[public, base, gamma, &left, &right],
    );
    let mut out = [0; 16];
    out.copy_from_slice(&hash[..16]);
    out
}

fn challenge_scalar(challenge: &[u8; 16]) -> Scalar {
    Scalar::from(u128::from_le_bytes(*challenge))
}

#[cfg(test)]
mod tests;
