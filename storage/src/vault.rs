//! The vault: XChaCha20-Poly1305 over a node's own secrets at rest. Where the key comes from is the node's matter. Spec: "Vault".

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Version byte of a sealed value.
pub const VERSION: u8 = 1;
/// Bytes a sealed value is longer than its plaintext: version 1, nonce 24, tag 16.
pub const OVERHEAD: usize = 41;

const NONCE_LEN: usize = 24;

/// Seals and opens small values under one 32 B key, each bound to a label.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Vault {
    key: [u8; 32],
}

/// A value that does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// Written by a newer version of this program.
    #[error(
        "sealed by a newer version ({found}, this program knows {VERSION}): update the program"
    )]
    Newer {
        /// The version byte found.
        found: u8,
    },
    /// Too short, altered, sealed under another key or for another label. Which of these it was cannot be told.
    #[error("does not open: wrong key, or the stored value is damaged")]
    Sealed,
}

impl Vault {
    /// A vault under this key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        // Our own subkey: the same 32 B used elsewhere by mistake would not meet the same cipher key here.
        Self {
            key: blake3::derive_key("murmuration/v1/vault", &Zeroizing::new(key)[..]),
        }
    }

    /// `plaintext` sealed for `label`: 41 B longer. The label is bound, not stored.
    #[must_use]
    pub fn seal(&self, label: &str, plaintext: &[u8], rng: &mut impl CryptoRng) -> Vec<u8> {
        let mut nonce = [0u8; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let mut out = Vec::with_capacity(plaintext.len() + OVERHEAD);
        out.push(VERSION);
        out.extend_from_slice(&nonce);
        let payload = Payload {
            msg: plaintext,
            aad: &associated(label),
        };
        // Encryption fails only beyond 256 GiB; an empty body then fails to open instead of passing for sealed.
        let sealed = XChaCha20Poly1305::new(&self.key.into())
            .encrypt(&XNonce::from(nonce), payload)
            .unwrap_or_default();
        out.extend_from_slice(&sealed);
        out
    }

    /// What was sealed for `label`.
    ///
    /// # Errors
    /// [`VaultError`] if it was not sealed here for this label, or is damaged.
    pub fn open(&self, label: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        match sealed.first() {
            None | Some(0) => return Err(VaultError::Sealed),
            Some(&VERSION) => {}
            Some(&found) => return Err(VaultError::Newer { found }),
        }
        let nonce = sealed
            .get(1..=NONCE_LEN)
            .and_then(|n| <[u8; NONCE_LEN]>::try_from(n).ok())
            .ok_or(VaultError::Sealed)?;
        let payload = Payload {
            msg: &sealed[1 + NONCE_LEN..],
            aad: &associated(label),
        };
        XChaCha20Poly1305::new(&self.key.into())
            .decrypt(&XNonce::from(nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| VaultError::Sealed)
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(..)")
    }
}

fn associated(label: &str) -> Vec<u8> {
    let mut aad = b"murmuration/v1/vault".to_vec();
    aad.push(VERSION);
    aad.extend_from_slice(label.as_bytes());
    aad
}

#[cfg(test)]
mod tests;
