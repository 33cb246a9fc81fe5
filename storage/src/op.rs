//! The operations a holder understands, as bytes: PUT, GET, DEL, STAT on pairwise boxes, the per-day inbox and the prekey box.
//!
//! Builders that sign live here too; what a holder does with an operation is in [`crate::mailbox`]. Spec: "Operations".

pub(crate) mod codec;
mod sign;

use ed25519_dalek::{SigningKey, hazmat::ExpandedSecretKey};
pub use sign::Scope;

use crate::{BODY_LEN, KEY_LEN, Millis, SIG_LEN, Sealed, SurbBytes, stamp::Proof};

/// Version byte of operations and answers.
pub const VERSION: u8 = 1;

/// One operation on a mailbox. Encodes to exactly 1,803 B, whatever it is. Its `Debug` shows kind and epoch only.
#[derive(Clone, PartialEq, Eq)]
pub enum Op {
    /// Deposit into a pairwise box. The id is the box's public key; `sig` is made with its secret half.
    PutBox {
        /// Epoch whose root placed the box.
        epoch: u32,
        /// Box id, an Ed25519 public key.
        id: [u8; KEY_LEN],
        /// When the holder may forget it, Unix ms.
        expires: Millis,
        /// Proof of work over id and ciphertext.
        stamp: Proof,
        /// Strict signature by the box key.
        sig: [u8; SIG_LEN],
        /// 1,600 B.
        ciphertext: Sealed,
    },
    /// Fetch from a pairwise box; knowing the id is the right to read. Waits up to `wait_ms` for a deposit.
    GetBox {
        /// Epoch whose root placed the box.
        epoch: u32,
        /// Box id.
        id: [u8; KEY_LEN],
        /// Longest wait, ms; the holder's own limit holds too.
        wait_ms: u32,
        /// Where the one answer goes.
        surb: SurbBytes,
    },
    /// Delete a pairwise box: a tombstone stays until the deposit would have expired.
    DelBox {
        /// Epoch whose root placed the box.
        epoch: u32,
        /// Box id.
        id: [u8; KEY_LEN],
        /// Strict signature by the box key.
        sig: [u8; SIG_LEN],
    },
    /// Ask whether a pairwise box is held. The only receipt there is.
    StatBox {
        /// Epoch whose root placed the box.
        epoch: u32,
        /// Box id.
        id: [u8; KEY_LEN],
        /// Where the one answer goes.
        surb: SurbBytes,
    },
    /// Append an entry to a day's inbox. Anybody may, for a stamp; at most 64 entries a key.
    PutInbox {
        /// Epoch whose root placed the inbox.
        epoch: u32,
        /// The day's blinded key.
        key: [u8; KEY_LEN],
        /// When the holder may forget it, Unix ms.
        expires: Millis,
        /// Proof of work over key and ciphertext.
        stamp: Proof,
        /// 1,600 B.
        ciphertext: Sealed,
    },
    /// Read one entry of an inbox; signed by the blinded secret over the SURB too, so a captured request serves nobody else.
    GetInbox {
        /// Epoch whose root placed the inbox.
        epoch: u32,
        /// The day's blinded key.
        key: [u8; KEY_LEN],
        /// Entry number, from 0.
        index: u16,
        /// Longest wait for this entry, ms.
        wait_ms: u32,
        /// Strict signature by the blinded secret.
        sig: [u8; SIG_LEN],
        /// Where the one answer goes.
        surb: SurbBytes,
    },
    /// Delete one entry of an inbox.
    DelInbox {
        /// Epoch whose root placed the inbox.
        epoch: u32,
        /// The day's blinded key.
        key: [u8; KEY_LEN],
        /// Entry number, from 0.
        index: u16,
        /// Random, so that no two requests are alike.
        nonce: [u8; 16],
        /// Strict signature by the blinded secret.
        sig: [u8; SIG_LEN],
    },
    /// Write the prekey box of a day's key. A newer `issued` replaces an older one.
    PutPrekey {
        /// Epoch whose root placed the prekey box.
        epoch: u32,
        /// The day's blinded key.
        key: [u8; KEY_LEN],
        /// When the owner made it, Unix ms: the newest wins.
        issued: Millis,
        /// When the holder may forget it, Unix ms.
        expires: Millis,
        /// Proof of work over key and ciphertext.
        stamp: Proof,
        /// Strict signature by the blinded secret.
        sig: [u8; SIG_LEN],
        /// 1,600 B.
        ciphertext: Sealed,
    },
    /// Read a prekey box. Many may; it never waits.
    GetPrekey {
        /// Epoch whose root placed the prekey box.
        epoch: u32,
        /// The day's blinded key.
        key: [u8; KEY_LEN],
        /// Where the one answer goes.
        surb: SurbBytes,
    },
}

/// The bytes are not an operation, or not an answer, of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Another version byte.
    #[error("unknown version {0}")]
    Version(u8),
    /// An unknown kind of operation or answer.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// A field holds a value it may not.
    #[error("a field holds a value it may not")]
    Field,
    /// The fill is not all zero.
    #[error("the fill is not zero")]
    Fill,
}

impl Op {
    /// A deposit, signed by the box key. `stamp` covers [`crate::stamp::Subject::put_box`].
    #[must_use]
    pub fn put_box(
        scope: &Scope,
        key: &SigningKey,
        expires: Millis,
        ciphertext: Sealed,
        stamp: Proof,
    ) -> Self {
        let id = key.verifying_key().to_bytes();
        let sig = sign::put_box(scope, &id, expires, &ciphertext).sign(key);
        Self::PutBox {
            epoch: scope.epoch,
            id,
            expires,
            stamp,
            sig,
            ciphertext,
        }
    }

    /// A fetch.
    #[must_use]
    pub fn get_box(epoch: u32, id: [u8; KEY_LEN], wait_ms: u32, surb: SurbBytes) -> Self {
        Self::GetBox {
            epoch,
            id,
            wait_ms,
            surb,
        }
    }

    /// A deletion, signed by the box key.
    #[must_use]
    pub fn del_box(scope: &Scope, key: &SigningKey) -> Self {
        let id = key.verifying_key().to_bytes();
        Self::DelBox {
            epoch: scope.epoch,
            id,
            sig: sign::del_box(scope, &id).sign(key),
        }
    }

    /// A question whether the box is held.
    #[must_use]
    pub fn stat_box(epoch: u32, id: [u8; KEY_LEN], surb: SurbBytes) -> Self {
        Self::StatBox { epoch, id, surb }
    }

    /// An inbox entry. `stamp` covers [`crate::stamp::Subject::put_inbox`].
    #[must_use]
    pub fn put_inbox(
        epoch: u32,
        key: [u8; KEY_LEN],
        expires: Millis,
        ciphertext: Sealed,
        stamp: Proof,
    ) -> Self {
        Self::PutInbox {
            epoch,
            key,
            expires,
            stamp,
            ciphertext,
        }
    }

    /// A read of one inbox entry, signed by the blinded secret.
    #[must_use]
    pub fn get_inbox(
        scope: &Scope,
        secret: &ExpandedSecretKey,
        index: u16,
        wait_ms: u32,
        surb: SurbBytes,
    ) -> Self {
        let key = sign::public(secret);
        let sig = sign::get_inbox(scope, &key, index, wait_ms, &surb).sign_expanded(secret);
        Self::GetInbox {
            epoch: scope.epoch,
            key,
            index,
            wait_ms,
            sig,
            surb,
        }
    }

    /// A deletion of one inbox entry, signed by the blinded secret; `nonce` is random.
    #[must_use]
    pub fn del_inbox(
        scope: &Scope,
        secret: &ExpandedSecretKey,
        index: u16,
        nonce: [u8; 16],
    ) -> Self {
        let key = sign::public(secret);
        let sig = sign::del_inbox(scope, &key, index, &nonce).sign_expanded(secret);
        Self::DelInbox {
            epoch: scope.epoch,
            key,
            index,
            nonce,
            sig,
        }
    }

    /// A prekey box, signed by the blinded secret. `stamp` covers [`crate::stamp::Subject::put_prekey`].
    #[must_use]
    pub fn put_prekey(
        scope: &Scope,
        secret: &ExpandedSecretKey,
        issued: Millis,
        expires: Millis,
        ciphertext: Sealed,
        stamp: Proof,
    ) -> Self {
        let key = sign::public(secret);
        let sig = sign::put_prekey(scope, &key, issued, expires, &ciphertext).sign_expanded(secret);
        Self::PutPrekey {
            epoch: scope.epoch,
            key,
            issued,
            expires,
            stamp,
            sig,
            ciphertext,
        }
    }

    /// A read of a prekey box.
    #[must_use]
    pub fn get_prekey(epoch: u32, key: [u8; KEY_LEN], surb: SurbBytes) -> Self {
        Self::GetPrekey { epoch, key, surb }
    }

    /// The epoch whose root placed the box: what a node checks before it looks further.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        match self {
            Self::PutBox { epoch, .. }
            | Self::GetBox { epoch, .. }
            | Self::DelBox { epoch, .. }
            | Self::StatBox { epoch, .. }
            | Self::PutInbox { epoch, .. }
            | Self::GetInbox { epoch, .. }
            | Self::DelInbox { epoch, .. }
            | Self::PutPrekey { epoch, .. }
            | Self::GetPrekey { epoch, .. } => *epoch,
        }
    }

    /// The box id or inbox key the operation is about: what placement goes by.
    #[must_use]
    pub fn target(&self) -> &[u8; KEY_LEN] {
        match self {
            Self::PutBox { id, .. }
            | Self::GetBox { id, .. }
            | Self::DelBox { id, .. }
            | Self::StatBox { id, .. } => id,
            Self::PutInbox { key, .. }
            | Self::GetInbox { key, .. }
            | Self::DelInbox { key, .. }
            | Self::PutPrekey { key, .. }
            | Self::GetPrekey { key, .. } => key,
        }
    }

    /// Whether the signature, where this operation carries one, was made by its key for this network (`verify_strict`).
    #[must_use]
    pub fn signature_holds(&self, network: &[u8; 32]) -> bool {
        sign::holds(self, network)
    }

    /// The operation as a packet body, 1,803 B; what it leaves over is zero.
    #[must_use]
    pub fn encode(&self) -> Box<[u8; BODY_LEN]> {
        codec::encode(self)
    }

    /// The operation in a packet body.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are no operation of this version. Signature and stamp are not looked at.
    pub fn decode(body: &[u8; BODY_LEN]) -> Result<Self, Malformed> {
        codec::decode(body)
    }
}

impl std::fmt::Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A box id is the right to read the box: it must not get into a log.
        let kind = match self {
            Self::PutBox { .. } => "PutBox",
            Self::GetBox { .. } => "GetBox",
            Self::DelBox { .. } => "DelBox",
            Self::StatBox { .. } => "StatBox",
            Self::PutInbox { .. } => "PutInbox",
            Self::GetInbox { .. } => "GetInbox",
            Self::DelInbox { .. } => "DelInbox",
            Self::PutPrekey { .. } => "PutPrekey",
            Self::GetPrekey { .. } => "GetPrekey",
        };
        f.debug_struct(kind)
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
