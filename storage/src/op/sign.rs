//! What the signatures of operations cover, and how they are made and checked.
//!
//! Every message starts with a domain `murmuration/v1/<use>` and the network id. Nothing here decides who may do what. Spec: "Signatures".

use ed25519_dalek::{
    Sha512, Signature, Signer, SigningKey, VerifyingKey, hazmat, hazmat::ExpandedSecretKey,
};

use super::Op;
use crate::{KEY_LEN, Millis, SEALED_LEN, SIG_LEN, SURB_LEN};

/// Network and epoch a signature is valid in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Network id, 32 B.
    pub network: [u8; 32],
    /// Epoch whose root placed the box.
    pub epoch: u32,
}

/// The bytes under a signature.
pub(super) struct Message(Vec<u8>);

impl Message {
    fn new(domain: &str, scope: &Scope, key: &[u8; KEY_LEN]) -> Self {
        let mut bytes = Vec::with_capacity(192);
        bytes.extend_from_slice(domain.as_bytes());
        bytes.extend_from_slice(&scope.network);
        bytes.extend_from_slice(&scope.epoch.to_le_bytes());
        bytes.extend_from_slice(key);
        Self(bytes)
    }

    fn with(mut self, field: &[u8]) -> Self {
        self.0.extend_from_slice(field);
        self
    }

    pub(super) fn sign(&self, key: &SigningKey) -> [u8; SIG_LEN] {
        key.sign(&self.0).to_bytes()
    }

    pub(super) fn sign_expanded(&self, secret: &ExpandedSecretKey) -> [u8; SIG_LEN] {
        hazmat::raw_sign::<Sha512>(secret, &self.0, &VerifyingKey::from(secret)).to_bytes()
    }

    fn signed_by(&self, key: &[u8; KEY_LEN], sig: &[u8; SIG_LEN]) -> bool {
        VerifyingKey::from_bytes(key).is_ok_and(|key| {
            key.verify_strict(&self.0, &Signature::from_bytes(sig))
                .is_ok()
        })
    }
}

/// The public half of a blinded secret.
pub(super) fn public(secret: &ExpandedSecretKey) -> [u8; KEY_LEN] {
    VerifyingKey::from(secret).to_bytes()
}

pub(super) fn put_box(
    scope: &Scope,
    id: &[u8; KEY_LEN],
    expires: Millis,
    ciphertext: &[u8; SEALED_LEN],
) -> Message {
    Message::new("murmuration/v1/box-put", scope, id)
        .with(&expires.0.to_le_bytes())
        .with(blake3::hash(ciphertext).as_bytes())
}

pub(super) fn del_box(scope: &Scope, id: &[u8; KEY_LEN]) -> Message {
    Message::new("murmuration/v1/box-del", scope, id)
}

pub(super) fn get_inbox(
    scope: &Scope,
    key: &[u8; KEY_LEN],
    index: u16,
    wait_ms: u32,
    surb: &[u8; SURB_LEN],
) -> Message {
    Message::new("murmuration/v1/inbox-get", scope, key)
        .with(&index.to_le_bytes())
        .with(&wait_ms.to_le_bytes())
        .with(blake3::hash(surb).as_bytes())
}

pub(super) fn del_inbox(
    scope: &Scope,
    key: &[u8; KEY_LEN],
    index: u16,
    nonce: &[u8; 16],
) -> Message {
    Message::new("murmuration/v1/inbox-del", scope, key)
        .with(&index.to_le_bytes())
        .with(nonce)
}

pub(super) fn put_prekey(
    scope: &Scope,
    key: &[u8; KEY_LEN],
    issued: Millis,
    expires: Millis,
    ciphertext: &[u8; SEALED_LEN],
) -> Message {
    Message::new("murmuration/v1/prekey-put", scope, key)
        .with(&issued.0.to_le_bytes())
        .with(&expires.0.to_le_bytes())
        .with(blake3::hash(ciphertext).as_bytes())
}

/// Whether the operation's signature holds; true for those that carry none.
pub(super) fn holds(op: &Op, network: &[u8; 32]) -> bool {
    let scope = Scope {
        network: *network,
        epoch: op.epoch(),
    };
    match op {
        Op::PutBox {
            id,
            expires,
            sig,
            ciphertext,
            ..
        } => put_box(&scope, id, *expires, ciphertext).signed_by(id, sig),
        Op::DelBox { id, sig, .. } => del_box(&scope, id).signed_by(id, sig),
        Op::GetInbox {
            key,
            index,
            wait_ms,
            sig,
            surb,
            ..
        } => get_inbox(&scope, key, *index, *wait_ms, surb).signed_by(key, sig),
        Op::DelInbox {
            key,
            index,
            nonce,
            sig,
            ..
        } => del_inbox(&scope, key, *index, nonce).signed_by(key, sig),
        Op::PutPrekey {
            key,
            issued,
            expires,
            sig,
            ciphertext,
            ..
        } => put_prekey(&scope, key, *issued, *expires, ciphertext).signed_by(key, sig),
        Op::GetBox { .. } | Op::StatBox { .. } | Op::PutInbox { .. } | Op::GetPrekey { .. } => true,
    }
}
