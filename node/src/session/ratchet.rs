//! The double ratchet: vodozemac's Olm session, started from the hello's root instead of Olm's own
//! handshake.
//!
//! How the two ends meet (checked against vodozemac 0.11 `olm/session/double_ratchet.rs`): the
//! responder is an *active* sender with root `R0` and its signed prekey as ratchet key, the sending
//! chain it is given is never used. The initiator takes the next root step itself,
//! `HKDF-SHA256(salt R0, DH(a, SPK), "OLM_RATCHET", 64) = R1 ‖ C`, and starts as active sender with
//! `(R1, C, a)`. Its first message names `a`; the responder advances by the same HKDF and both agree.
//! That first message travels inside the hello, so a responder is never asked to use the unused
//! chain. Not here: fragments and order (`conversation`). SPEC §4.3.

use hkdf::Hkdf;
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::{Message, OlmMessage, Session, SessionConfig, SessionKeys, SessionPickle};
use zeroize::Zeroizing;

const ROOT_STEP: &[u8] = b"OLM_RATCHET";

/// Why the ratchet refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RatchetError {
    /// A Diffie-Hellman result was zero: somebody sent a key of small order.
    #[error("a key of small order was used")]
    WeakKey,
    /// Not a message of this ratchet, or one it can't read any more.
    #[error("the message can't be decrypted")]
    Undecryptable,
    /// Saved state that this program did not write.
    #[error("the saved ratchet is damaged")]
    Damaged,
}

/// One end of a double ratchet. Encrypts whole messages.
pub struct Ratchet {
    session: Session,
}

impl Ratchet {
    /// The end of the contact that said hello. `own` is its first ratchet secret `a`, `peer` the
    /// other's signed prekey.
    ///
    /// # Errors
    /// [`RatchetError::WeakKey`] if the two give a zero secret.
    pub fn initiator(
        root: &[u8; 32],
        own: &[u8; 32],
        peer: &[u8; 32],
    ) -> Result<Self, RatchetError> {
        let secret = x25519_dalek::StaticSecret::from(*own);
        let shared = secret.diffie_hellman(&x25519_dalek::PublicKey::from(*peer));
        if !shared.was_contributory() {
            return Err(RatchetError::WeakKey);
        }
        let mut okm = Zeroizing::new([0; 64]);
        Hkdf::<sha2::Sha256>::new(Some(root), shared.as_bytes())
            .expand(ROOT_STEP, okm.as_mut_slice())
            .map_err(|_| RatchetError::WeakKey)?;
        let next_root = super::prekey::array(&okm[..32]);
        let chain = super::prekey::array(&okm[32..]);
        let public = x25519_dalek::PublicKey::from(&secret).to_bytes();
        Ok(Self::active(public, *peer, next_root, chain, *own))
    }

    /// The end of the contact that was greeted. `own` is the signed prekey's secret; `unused` any
    /// secret bytes, never used as long as the first decryption precedes the first encryption.
    #[must_use]
    pub fn responder(root: &[u8; 32], own: &[u8; 32], unused: &[u8; 32]) -> Self {
        let secret = x25519_dalek::StaticSecret::from(*own);
        let public = x25519_dalek::PublicKey::from(&secret).to_bytes();
        Self::active(public, public, *root, *unused, *own)
    }

    /// Encrypts one whole message; 62–66 B longer than it, rounded up to 16.
    ///
    /// # Errors
    /// [`RatchetError::WeakKey`] if the peer's ratchet key has small order.
    pub fn encrypt(&mut self, plain: &[u8]) -> Result<Vec<u8>, RatchetError> {
        match self
            .session
            .encrypt(plain)
            .map_err(|_| RatchetError::WeakKey)?
        {
            OlmMessage::Normal(message) => Ok(message.to_bytes()),
            // The envelope repeats keys that the hello brought already.
            OlmMessage::PreKey(message) => Ok(message.message().to_bytes()),
        }
    }

    /// Decrypts one whole message; on error nothing has changed.
    ///
    /// # Errors
    /// [`RatchetError::Undecryptable`].
    pub fn decrypt(&mut self, ciphertext: &[u8]) -> Result<Vec<u8>, RatchetError> {
        let message = Message::from_bytes(ciphertext).map_err(|_| RatchetError::Undecryptable)?;
        self.session
            .decrypt(&OlmMessage::Normal(message))
            .map_err(|_| RatchetError::Undecryptable)
    }

    /// The state to save. Secret.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // A pickle always serialises; an empty result would be refused by `from_bytes`.
        Zeroizing::new(serde_json::to_vec(&self.session.pickle()).unwrap_or_default())
    }

    /// From saved state.
    ///
    /// # Errors
    /// [`RatchetError::Damaged`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RatchetError> {
        let pickle: SessionPickle =
            serde_json::from_slice(bytes).map_err(|_| RatchetError::Damaged)?;
        Ok(Self {
            session: Session::from_pickle(pickle),
        })
    }

    fn active(
        base: [u8; 32],
        prekey: [u8; 32],
        root: [u8; 32],
        chain: [u8; 32],
        own: [u8; 32],
    ) -> Self {
        // vodozemac uses these three for the session's name and the pre-key envelope only; we strip that envelope.
        let keys = SessionKeys {
            identity_key: Curve25519PublicKey::from_bytes(base),
            base_key: Curve25519PublicKey::from_bytes(base),
            one_time_key: Curve25519PublicKey::from_bytes(prekey),
        };
        let session =
            Session::from_root_key_material(SessionConfig::version_1(), keys, root, chain, own);
        Self { session }
    }
}

impl std::fmt::Debug for Ratchet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ratchet(…)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn pair() -> (Ratchet, Ratchet) {
        let (root, own, prekey) = ([1; 32], [2; 32], [3; 32]);
        let public = x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(prekey));
        let initiator = Ratchet::initiator(&root, &own, public.as_bytes()).unwrap();
        (initiator, Ratchet::responder(&root, &prekey, &[9; 32]))
    }

    #[test]
    fn the_two_ends_agree_in_both_directions() {
        let (mut a, mut b) = pair();
        for round in 0..20u8 {
            let text = a.encrypt(&[round; 100]).unwrap();
            assert_eq!(b.decrypt(&text).unwrap(), [round; 100]);
            assert!(b.decrypt(&text).is_err(), "a message decrypts once");
            let text = b.encrypt(&[round; 50]).unwrap();
            assert_eq!(a.decrypt(&text).unwrap(), [round; 50]);
        }
    }

    /// The derivation, checked against a session that vodozemac's own root step advanced: after one
    /// message each way the responder's next chain must come from the same root.
    #[test]
    fn vodozemac_takes_the_same_root_step() {
        let (a, mut b) = pair();
        let state = a.session.active_sending_state().unwrap();
        assert_eq!(state.chain_index, 0);
        assert_eq!(*state.ratchet_key, [2; 32]);
        let mut a = a;
        let first = a.encrypt(b"x").unwrap();
        // Decryption succeeds only if vodozemac's HKDF gave the chain key ours gave.
        assert_eq!(b.decrypt(&first).unwrap(), b"x");
        assert!(
            b.session.active_sending_state().is_none(),
            "the unused chain is gone"
        );
    }

    #[test]
    fn out_of_order_lost_and_altered() {
        let (mut a, mut b) = pair();
        let texts: Vec<_> = (0..30u8).map(|i| a.encrypt(&[i]).unwrap()).collect();
        for at in [5, 0, 29, 12, 3] {
            assert_eq!(b.decrypt(&texts[at]).unwrap(), [at as u8]);
        }
        let mut bad = texts[7].clone();
        let last = bad.len() - 1;
        bad[last] ^= 1;
        assert_eq!(b.decrypt(&bad), Err(RatchetError::Undecryptable));
        assert_eq!(
            b.decrypt(&texts[7]).unwrap(),
            [7],
            "a failure changes nothing"
        );
        assert!(b.decrypt(b"").is_err() && b.decrypt(&[3; 200]).is_err());
    }

    #[test]
    fn saved_state_continues() {
        let (mut a, mut b) = pair();
        let early = a.encrypt(b"early").unwrap();
        let late = a.encrypt(b"late").unwrap();
        b.decrypt(&late).unwrap();
        let mut b = Ratchet::from_bytes(&b.to_bytes()).unwrap();
        assert_eq!(b.decrypt(&early).unwrap(), b"early");
        let mut a = Ratchet::from_bytes(&a.to_bytes()).unwrap();
        let text = b.encrypt(b"back").unwrap();
        assert_eq!(a.decrypt(&text).unwrap(), b"back");
        assert_eq!(
            Ratchet::from_bytes(b"{}").unwrap_err(),
            RatchetError::Damaged
        );
    }

    #[test]
    fn small_order_keys_are_refused() {
        assert_eq!(
            Ratchet::initiator(&[1; 32], &[2; 32], &[0; 32]).unwrap_err(),
            RatchetError::WeakKey
        );
        assert_eq!(format!("{:?}", pair().0), "Ratchet(…)");
    }
}
