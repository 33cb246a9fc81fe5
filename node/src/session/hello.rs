//! The hello: how one contact address becomes shared secrets with its owner, who may be offline.
//!
//! PQXDH-shaped: three X25519 agreements and one ML-KEM-768 encapsulation, the initiator's identity
//! sealed under the first half of them. One entry of 1,600 B in the day's inbox holds everything,
//! including the ratchet's first message, so that the greeted side can write at once. Not here:
//! fetching the bundle, depositing the entry, deciding whom to answer (the node's core), two hellos
//! that cross (`conversation::crossing`). Sources: Signal's PQXDH revision 3; Noise IK for the
//! order in which the identity is protected. SPEC §4.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use ml_kem::kem::{Decapsulate, KeyExport};
use rand_core::CryptoRng;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::identity::{ContactKey, ContactSecret};
use super::prekey::{
    KEM_CIPHERTEXT_LEN, PLAIN_LEN, PrekeyBundle, PrekeySecret, array, open_for_address,
    seal_for_address,
};
use super::ratchet::Ratchet;
use super::{Day, NetworkBytes, SEALED_LEN, derive, derive_into};
use crate::address::{self, ContactAddress};

const VERSION: u8 = 1;
const OUTER: &str = "murmuration/v1/hello-outer";
const TRANSCRIPT: &str = "murmuration/v1/hello-transcript";
const FIRST: &str = "murmuration/v1/hello-first";
const SECOND: &str = "murmuration/v1/hello-second";
const IDENTITY_KEY: &str = "murmuration/v1/hello-identity";
const BODY_KEY: &str = "murmuration/v1/hello-body";
const KEYS: &str = "murmuration/v1/hello-keys";

type Shared = Zeroizing<[u8; 32]>;

const IDENTITY_LEN: usize = address::PLAIN_BYTES + 1 + 1 + 16;
const RATCHET_LEN: usize = 128;
const BODY_LEN: usize = 8 + 2 + RATCHET_LEN;
const EPHEMERAL_AT: usize = 9;
const KEM_AT: usize = EPHEMERAL_AT + 32;
const IDENTITY_AT: usize = KEM_AT + KEM_CIPHERTEXT_LEN;
const BODY_AT: usize = IDENTITY_AT + IDENTITY_LEN + 16;
/// Bytes of a hello before padding and sealing.
pub const HELLO_LEN: usize = BODY_AT + BODY_LEN + 16;
const _: () = assert!(HELLO_LEN <= PLAIN_LEN);

/// Which side of a hello one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Said hello.
    Initiator,
    /// Was greeted.
    Responder,
}

impl Role {
    /// The other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// Why a hello could not be made or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// The address is one's own.
    #[error("this is your own address")]
    OwnAddress,
    /// A key of the contact has small order.
    #[error("the contact's keys are unusable")]
    WeakKey,
    /// Not a hello for this address, network and day, or altered on the way.
    #[error("not a readable hello for this address and day")]
    Unreadable,
    /// It was made with keys that have been erased since.
    #[error("the hello was made with keys that are gone")]
    UnknownPrekey,
}

/// What the initiator gets.
#[derive(Debug)]
pub struct HelloOut {
    /// The inbox entries to deposit, in this order. There is one.
    pub entries: Vec<Box<[u8; SEALED_LEN]>>,
    /// What the conversation starts from.
    pub secrets: HelloSecrets,
}

/// What the responder gets.
#[derive(Debug)]
pub struct HelloIn {
    /// Who says hello; authenticated.
    pub from: ContactAddress,
    /// When, by the initiator's clock, Unix ms.
    pub sent_at: u64,
    /// The invite secret of our address, if the initiator had one.
    pub invite: Option<[u8; 16]>,
    /// What the conversation starts from.
    pub secrets: HelloSecrets,
}

/// The outcome of a hello: everything a conversation needs, equal on both sides but for the role.
pub struct HelloSecrets {
    pub(crate) role: Role,
    pub(crate) id: [u8; 16],
    pub(crate) own: ContactKey,
    pub(crate) peer: ContactKey,
    pub(crate) sent_at: u64,
    pub(crate) ratchet: Ratchet,
    pub(crate) out_root: Zeroizing<[u8; 32]>,
    pub(crate) in_root: Zeroizing<[u8; 32]>,
    pub(crate) check_key: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for HelloSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HelloSecrets")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl HelloSecrets {
    /// 16 bytes equal on both sides: names the hello, and the conversation that follows. A second
    /// copy of the same hello gives the same id and must not start a second conversation.
    #[must_use]
    pub const fn id(&self) -> [u8; 16] {
        self.id
    }

    /// Which side this is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The other side's contact key.
    #[must_use]
    pub const fn peer(&self) -> ContactKey {
        self.peer
    }
}

/// Says hello to the owner of `bundle`. `me_address` is the address the peer shall know us by (its
/// invite secret is left out); `day` the inbox day the entry goes to, now's.
///
/// # Errors
/// [`HelloError::OwnAddress`], [`HelloError::WeakKey`].
#[allow(
    clippy::too_many_arguments,
    reason = "each is a different thing; a struct would only rename them"
)]
pub fn initiate(
    network: &NetworkBytes,
    me: &ContactSecret,
    me_address: &ContactAddress,
    peer: &ContactAddress,
    bundle: &PrekeyBundle,
    day: Day,
    now: u64,
    rng: &mut impl CryptoRng,
) -> Result<HelloOut, HelloError> {
    let (own, peer_key) = (me.public(), peer.contact());
    if own == peer_key {
        return Err(HelloError::OwnAddress);
    }
    let ephemeral = secret(rng);
    let first_ratchet = secret(rng);
    let mut kem_random = Zeroizing::new([0; 32]);
    rng.fill_bytes(kem_random.as_mut_slice());
    let (kem_ct, kem_shared) = bundle
        .kem()
        .encapsulate_deterministic(&(*kem_random).into());

    let identity = peer_key.x25519().ok_or(HelloError::WeakKey)?;
    let ephemeral_public = PublicKey::from(&ephemeral);
    let transcript = transcript(
        network,
        day,
        &peer_key,
        &bundle.x25519(),
        &bundle.kem().to_bytes(),
        &ephemeral_public,
        &kem_ct,
    );
    let first = first_key(
        &agree(&ephemeral, &identity)?,
        &agree(&ephemeral, &bundle.x25519())?,
        &kem_shared,
        &transcript,
    );
    let second = second_key(&first, &agree(&me.x25519(), &bundle.x25519())?, &own);
    let keys = Derived::new(&second);
    let mut ratchet = Ratchet::initiator(
        &keys.root,
        first_ratchet.as_bytes(),
        bundle.x25519().as_bytes(),
    )
    .map_err(|_| HelloError::WeakKey)?;
    let opening = ratchet.encrypt(&keys.id).map_err(|_| HelloError::WeakKey)?;

    let mut identity_part = Vec::with_capacity(IDENTITY_LEN);
    identity_part.extend(me_address.to_plain_bytes());
    identity_part.push(u8::from(me_address.is_testnet()));
    identity_part.push(u8::from(peer.invite().is_some()));
    identity_part.extend(peer.invite().unwrap_or_default());
    let mut body_part = vec![0; BODY_LEN];
    body_part[..8].copy_from_slice(&now.to_le_bytes());
    body_part[8..10].copy_from_slice(&(opening.len() as u16).to_le_bytes());
    body_part
        .get_mut(10..10 + opening.len())
        .ok_or(HelloError::WeakKey)?
        .copy_from_slice(&opening);

    let mut plain = Zeroizing::new([0; PLAIN_LEN]);
    plain[0] = VERSION;
    plain[1..EPHEMERAL_AT].copy_from_slice(&bundle.id());
    plain[EPHEMERAL_AT..KEM_AT].copy_from_slice(ephemeral_public.as_bytes());
    plain[KEM_AT..IDENTITY_AT].copy_from_slice(&kem_ct);
    let identity_key = derive(IDENTITY_KEY, &[&*first]);
    let body_key = derive(BODY_KEY, &[&*second]);
    plain[IDENTITY_AT..BODY_AT].copy_from_slice(&seal(&identity_key, &transcript, &identity_part)?);
    plain[BODY_AT..HELLO_LEN].copy_from_slice(&seal(&body_key, &transcript, &body_part)?);
    let entry = seal_for_address(&outer_key(network, &peer_key, day), &plain, rng);
    let secrets = keys.secrets(Role::Initiator, own, peer_key, now, ratchet);
    Ok(HelloOut {
        entries: vec![entry],
        secrets,
    })
}

/// Reads one inbox entry of `day`. `prekeys` are all secrets still kept.
///
/// # Errors
/// [`HelloError::Unreadable`] for anything that is not an intact hello for this address, network and
/// day; [`HelloError::UnknownPrekey`] if it was made with erased keys.
pub fn respond(
    network: &NetworkBytes,
    me: &ContactSecret,
    prekeys: &[PrekeySecret],
    day: Day,
    day_ms: u64,
    entry: &[u8; SEALED_LEN],
) -> Result<HelloIn, HelloError> {
    let own = me.public();
    let plain =
        open_for_address(&outer_key(network, &own, day), entry).ok_or(HelloError::Unreadable)?;
    if plain[0] != VERSION || plain[HELLO_LEN..].iter().any(|byte| *byte != 0) {
        return Err(HelloError::Unreadable);
    }
    let id: [u8; 8] = array(&plain[1..EPHEMERAL_AT]);
    let prekey = prekeys
        .iter()
        .find(|key| key.id() == id)
        .ok_or(HelloError::UnknownPrekey)?;
    let ephemeral = PublicKey::from(array::<32>(&plain[EPHEMERAL_AT..KEM_AT]));
    let kem_ct: [u8; KEM_CIPHERTEXT_LEN] = array(&plain[KEM_AT..IDENTITY_AT]);
    let kem = prekey.kem();
    let kem_shared = kem.decapsulate(&kem_ct.into());
    let spk = prekey.public();
    let transcript = transcript(
        network,
        day,
        &own,
        &spk,
        &kem.encapsulation_key().to_bytes(),
        &ephemeral,
        &kem_ct,
    );
    let unreadable = |_| HelloError::Unreadable;
    let first = first_key(
        &agree(&me.x25519(), &ephemeral).map_err(unreadable)?,
        &agree(&prekey.x25519(), &ephemeral).map_err(unreadable)?,
        &kem_shared,
        &transcript,
    );
    let identity = open(
        &derive(IDENTITY_KEY, &[&*first]),
        &transcript,
        &plain[IDENTITY_AT..BODY_AT],
    )?;
    let (from, invite) = read_identity(&identity, network).ok_or(HelloError::Unreadable)?;
    let peer = from.contact();
    if peer == own {
        return Err(HelloError::Unreadable);
    }
    let peer_identity = peer.x25519().ok_or(HelloError::Unreadable)?;
    let second = second_key(
        &first,
        &agree(&prekey.x25519(), &peer_identity).map_err(unreadable)?,
        &peer,
    );
    let body = open(
        &derive(BODY_KEY, &[&*second]),
        &transcript,
        &plain[BODY_AT..HELLO_LEN],
    )?;
    let sent_at = u64::from_le_bytes(array(&body[..8]));
    // The chains start at this time: a day far from the inbox's would start them out of reach.
    if super::day_of(sent_at, day_ms).abs_diff(day) > 1 {
        return Err(HelloError::Unreadable);
    }
    let len = usize::from(u16::from_le_bytes(array(&body[8..10])));
    let opening = body.get(10..10 + len).ok_or(HelloError::Unreadable)?;
    let keys = Derived::new(&second);
    let mut ratchet = Ratchet::responder(&keys.root, prekey.x25519_bytes(), &keys.unused);
    if ratchet.decrypt(opening).ok().as_deref() != Some(keys.id.as_slice()) {
        return Err(HelloError::Unreadable);
    }
    let secrets = keys.secrets(Role::Responder, own, peer, sent_at, ratchet);
    Ok(HelloIn {
        from,
        sent_at,
        invite,
        secrets,
    })
}

/// All that follows from the second key: 176 bytes.
struct Derived {
    root: Zeroizing<[u8; 32]>,
    unused: Zeroizing<[u8; 32]>,
    forward: Zeroizing<[u8; 32]>,
    backward: Zeroizing<[u8; 32]>,
    check: Zeroizing<[u8; 32]>,
    id: [u8; 16],
}

impl Derived {
    fn new(second: &[u8; 32]) -> Self {
        let mut bytes = Zeroizing::new([0; 176]);
        derive_into(KEYS, &[second], bytes.as_mut_slice());
        let part = |from: usize| Zeroizing::new(array(&bytes[from..from + 32]));
        Self {
            root: part(0),
            unused: part(32),
            forward: part(64),
            backward: part(96),
            check: part(128),
            id: array(&bytes[160..]),
        }
    }

    fn secrets(
        self,
        role: Role,
        own: ContactKey,
        peer: ContactKey,
        sent_at: u64,
        ratchet: Ratchet,
    ) -> HelloSecrets {
        let (out_root, in_root) = match role {
            Role::Initiator => (self.forward, self.backward),
            Role::Responder => (self.backward, self.forward),
        };
        HelloSecrets {
            role,
            id: self.id,
            own,
            peer,
            sent_at,
            ratchet,
            out_root,
            in_root,
            check_key: self.check,
        }
    }
}

fn read_identity(
    bytes: &[u8],
    network: &NetworkBytes,
) -> Option<(ContactAddress, Option<[u8; 16]>)> {
    let (address, rest) = bytes.split_at_checked(address::PLAIN_BYTES)?;
    let [testnet @ (0 | 1), has_invite @ (0 | 1), invite @ ..] = rest else {
        return None;
    };
    let address = ContactAddress::from_plain_bytes(address, *testnet == 1)?;
    address.check_network(network).ok()?;
    Some((address, (*has_invite == 1).then(|| array(invite))))
}

fn transcript(
    network: &NetworkBytes,
    day: Day,
    owner: &ContactKey,
    prekey: &PublicKey,
    kem: &[u8],
    ephemeral: &PublicKey,
    kem_ct: &[u8],
) -> [u8; 32] {
    let day = day.to_le_bytes();
    let parts: [&[u8]; 7] = [
        network,
        &day,
        owner.as_bytes(),
        prekey.as_bytes(),
        kem,
        ephemeral.as_bytes(),
        kem_ct,
    ];
    derive(TRANSCRIPT, &parts)
}

fn first_key(identity: &Shared, prekey: &Shared, kem: &[u8], transcript: &[u8; 32]) -> Shared {
    Zeroizing::new(derive(FIRST, &[&**identity, &**prekey, kem, transcript]))
}

fn second_key(first: &Shared, identity: &Shared, initiator: &ContactKey) -> Shared {
    Zeroizing::new(derive(
        SECOND,
        &[&**first, &**identity, initiator.as_bytes()],
    ))
}

fn outer_key(network: &NetworkBytes, owner: &ContactKey, day: Day) -> [u8; 32] {
    derive(OUTER, &[network, owner.as_bytes(), &day.to_le_bytes()])
}

fn agree(secret: &StaticSecret, public: &PublicKey) -> Result<Shared, HelloError> {
    let shared = secret.diffie_hellman(public);
    if shared.was_contributory() {
        Ok(Zeroizing::new(shared.to_bytes()))
    } else {
        Err(HelloError::WeakKey)
    }
}

fn secret(rng: &mut impl CryptoRng) -> StaticSecret {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill_bytes(bytes.as_mut_slice());
    StaticSecret::from(*bytes)
}

/// Both keys are fresh for every hello, so the nonce is zero.
fn seal(key: &[u8; 32], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, HelloError> {
    ChaCha20Poly1305::new(&Key::from(*key))
        .encrypt(&Nonce::default(), Payload { msg: plain, aad })
        .map_err(|_| HelloError::WeakKey)
}

fn open(key: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, HelloError> {
    ChaCha20Poly1305::new(&Key::from(*key))
        .decrypt(&Nonce::default(), Payload { msg: sealed, aad })
        .map(Zeroizing::new)
        .map_err(|_| HelloError::Unreadable)
}

#[cfg(test)]
pub(crate) mod tests;
