//! What the packet format says, written a second time and as plainly as possible: the key schedule of a hop, the wide block,
//! and one peel. Shares the primitives with the `mix` crate and no line of it. SPEC.md §2–§6.

use core::ops::Range;

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit as _, StreamCipher as _};
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity as _;
use mix::sphinx::{Peeled, Quantile};
use mix::{Class, DropReason, ShortId};

/// A packet on the wire.
pub type Wire = [u8; 2048];
/// Where the group element is.
pub const ALPHA: Range<usize> = 1..33;
/// Where the header's authentication code is.
pub const GAMMA: Range<usize> = 33..49;
/// Where the routing blocks are.
pub const BETA: Range<usize> = 49..229;
/// Where the wide block is.
pub const DELTA: Range<usize> = 229..2048;

/// What one hop derives from the element it shares with the sender.
#[derive(Clone)]
pub struct Keys {
    /// Authenticates beta.
    pub mac: [u8; 32],
    /// Hides beta.
    pub stream: [u8; 32],
    /// Key of this hop's wide block.
    pub payload: [u8; 32],
    /// Blinds alpha.
    pub blinding: Scalar,
    /// Replay tag.
    pub tag: [u8; 16],
}

impl Keys {
    /// The key schedule.
    pub fn derive(
        shared: &RistrettoPoint,
        network: &[u8; 32],
        epoch: u32,
        relay: &[u8; 16],
    ) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("murmuration/v1/sphinx-hop");
        hasher.update(shared.compress().as_bytes());
        hasher.update(&[1]);
        hasher.update(network);
        hasher.update(&epoch.to_le_bytes());
        hasher.update(relay);
        let mut all = [0; 176];
        hasher.finalize_xof().fill(&mut all);
        Self {
            mac: part(&all[..32]),
            stream: part(&all[32..64]),
            payload: part(&all[64..96]),
            blinding: Scalar::from_bytes_mod_order_wide(&part(&all[96..160])),
            tag: part(&all[160..]),
        }
    }

    /// The code that makes this beta authentic.
    pub fn gamma(&self, beta: &[u8]) -> [u8; 16] {
        part(&blake3::keyed_hash(&self.mac, beta).as_bytes()[..16])
    }

    /// Beta with 36 zeros behind it, in clear.
    pub fn clear(&self, beta: &[u8]) -> [u8; 216] {
        let mut clear = [0; 216];
        clear[..180].copy_from_slice(beta);
        ChaCha20::new(&self.stream.into(), &[0; 12].into()).apply_keystream(&mut clear);
        clear
    }
}

/// What a relay does once it has a packet's keys: the whole packet as it leaves, or why it is dropped.
pub fn peel(
    packet: &Wire,
    keys: &Keys,
    next_alpha: &[u8; 32],
) -> Result<(Peeled, Wire), DropReason> {
    if keys.gamma(&packet[BETA]) != packet[GAMMA] {
        return Err(DropReason::Mac);
    }
    let clear = keys.clear(&packet[BETA]);
    if !(1..=5).contains(&clear[0]) {
        return Err(DropReason::Command);
    }
    let class = match clear[1] {
        0 => Class::Fast,
        1 => Class::Strong,
        2 => Class::Slow,
        _ => return Err(DropReason::Flags),
    };
    let name: [u8; 16] = part(&clear[4..20]);
    let mut left = *packet;
    decrypt(&keys.payload, &mut left[DELTA]);
    let tagged = left[229..245] == [0; 16];
    let peeled = match clear[0] {
        1 => {
            left[ALPHA].copy_from_slice(next_alpha);
            left[GAMMA].copy_from_slice(&clear[20..36]);
            left[BETA].copy_from_slice(&clear[36..]);
            Peeled::Forward {
                next: ShortId(name),
                class,
                quantile: Quantile(u16::from_le_bytes([clear[2], clear[3]])),
            }
        }
        5 => Peeled::Reply { surb_id: name },
        _ if !tagged => return Err(DropReason::Payload),
        2 => Peeled::Drop,
        3 => Peeled::Loop { id: name },
        _ => Peeled::Box { class },
    };
    Ok((peeled, left))
}

/// The element that these bytes encode, if it may be an alpha or a public key.
pub fn element(bytes: &[u8]) -> Option<RistrettoPoint> {
    let point = CompressedRistretto(part(bytes)).decompress()?;
    assert_eq!(
        point.compress().as_bytes(),
        bytes,
        "an element with two encodings"
    );
    (point != RistrettoPoint::identity()).then_some(point)
}

/// Adds a layer to a wide block.
pub fn encrypt(key: &[u8; 32], block: &mut [u8]) {
    let [k1, k2, k3, k4] = round_keys(key);
    to_right(&k1, block);
    to_left(&k2, block);
    to_right(&k3, block);
    to_left(&k4, block);
}

/// Takes a layer off a wide block.
pub fn decrypt(key: &[u8; 32], block: &mut [u8]) {
    let [k1, k2, k3, k4] = round_keys(key);
    to_left(&k4, block);
    to_right(&k3, block);
    to_left(&k2, block);
    to_right(&k1, block);
}

fn round_keys(key: &[u8; 32]) -> [[u8; 32]; 4] {
    let mut all = [0; 128];
    blake3::Hasher::new_derive_key("murmuration/v1/lioness")
        .update(key)
        .finalize_xof()
        .fill(&mut all);
    core::array::from_fn(|round| part(&all[32 * round..32 * round + 32]))
}

fn to_right(k: &[u8; 32], block: &mut [u8]) {
    let key: [u8; 32] = core::array::from_fn(|i| block[i] ^ k[i]);
    ChaCha20::new(&key.into(), &[0; 12].into()).apply_keystream(&mut block[32..]);
}

fn to_left(k: &[u8; 32], block: &mut [u8]) {
    let mut padded = [0; 2048];
    padded[..1787].copy_from_slice(&block[32..]);
    let hash = blake3::keyed_hash(k, &padded);
    for (byte, mask) in block.iter_mut().zip(hash.as_bytes()) {
        *byte ^= mask;
    }
}

/// A slice whose length is known, as an array.
pub fn part<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the length is in the code")
}
