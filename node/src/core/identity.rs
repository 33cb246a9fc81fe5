//! Who the node is: made on its first start, kept sealed in its store, never changed.
//!
//! The node key signs descriptors and beats and is the libp2p identity. Contact keys are unrelated
//! to it and to each other: knowing an address tells nothing about the node behind it.

use dht::id::NodeId;
use ed25519_dalek::SigningKey;
use rand_core::CryptoRng;
use storage::backend::{Backend, Batch, Space};
use storage::vault::Vault;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::records::key;
use crate::error::Error;

/// The node's long-term secrets: 32 bytes for the mesh, 32 for its first address.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Identity {
    node: [u8; 32],
    contact: [u8; 32],
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// A fresh identity.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut identity = Self {
            node: [0; 32],
            contact: [0; 32],
        };
        rng.fill_bytes(&mut identity.node);
        rng.fill_bytes(&mut identity.contact);
        identity
    }

    /// Whether the store holds an identity, readable or not.
    pub fn is_stored<B: Backend>(backend: &B) -> Result<bool, Error> {
        let stored = backend.get(Space::State, key::IDENTITY.as_bytes());
        stored
            .map(|sealed| sealed.is_some())
            .map_err(Error::storage)
    }

    /// The identity in a store; made and written durably if there is none.
    pub fn load_or_create<B: Backend>(
        backend: &B,
        vault: &Vault,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        let stored = backend
            .get(Space::State, key::IDENTITY.as_bytes())
            .map_err(Error::storage)?;
        if let Some(sealed) = stored {
            let opened = vault.open(key::IDENTITY, &sealed).ok();
            let bytes: Option<[u8; 64]> = opened.and_then(|bytes| bytes.as_slice().try_into().ok());
            let mut bytes = bytes.ok_or_else(|| super::sealed_wrong(key::IDENTITY))?;
            let mut identity = Self {
                node: [0; 32],
                contact: [0; 32],
            };
            identity.node.copy_from_slice(&bytes[..32]);
            identity.contact.copy_from_slice(&bytes[32..]);
            bytes.zeroize();
            return Ok(identity);
        }
        let identity = Self::random(rng);
        let bytes = Zeroizing::new([identity.node, identity.contact].concat());
        let mut batch = Batch::default();
        batch.put(
            Space::State,
            key::IDENTITY.as_bytes(),
            vault.seal(key::IDENTITY, &bytes, rng),
        );
        backend.commit(&batch).map_err(Error::storage)?;
        Ok(identity)
    }

    /// The Ed25519 secret of the mesh identity.
    #[must_use]
    pub fn node_secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.node)
    }

    /// The key that signs descriptors and beats.
    #[must_use]
    pub fn signer(&self) -> SigningKey {
        SigningKey::from_bytes(&self.node)
    }

    /// The public half, which is the libp2p peer id.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId(self.signer().verifying_key().to_bytes())
    }

    /// The secret behind the first address.
    #[must_use]
    pub fn contact_secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.contact)
    }
}
