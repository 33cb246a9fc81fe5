//! Single-use reply blocks: a header that leads home, given away with a key, so that a holder can answer without knowing
//! whom. SPEC.md §7.

use core::fmt;

use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::build::{BuildError, Hop, NO_TABLES, build_header, check_path};
use super::command::{Class, Command, tag_is_zero};
use super::geometry::{
    BODY_LEN, HEADER_LEN, ID_LEN, MAX_HOPS, PAYLOAD_KEY_LEN, SURB_LEN, TAG_LEN, VERSION,
};
use super::packet::{Malformed, Packet, copy};
use super::payload::Lioness;
use super::table::KeyTables;
use crate::{NetworkId, ShortId};

/// Bytes of serialised [`SurbKeys`]: hops 1, reply key 32, five layer keys of 32.
pub const SURB_KEYS_LEN: usize = 1 + PAYLOAD_KEY_LEN * (1 + MAX_HOPS);

/// A reply block as its user holds it: 277 bytes. Good for one reply; the mixes drop a second.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Surb {
    header: [u8; HEADER_LEN],
    first: [u8; ID_LEN],
    key: [u8; PAYLOAD_KEY_LEN],
}

/// What the owner keeps to open the reply. Erased when dropped; may be persisted, encrypted.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SurbKeys {
    hops: u8,
    key: [u8; PAYLOAD_KEY_LEN],
    layers: [[u8; PAYLOAD_KEY_LEN]; MAX_HOPS],
}

/// Why a reply does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SurbError {
    /// The payload's tag is not zero: altered on the way, or made without this block's key.
    #[error("the reply was altered, or made for another reply block")]
    Payload,
}

/// Builds a reply block that leads along `path` to its last hop, the owner, who is told `surb_id`.
pub fn build_surb(
    network: &NetworkId,
    path: &[Hop],
    class: Class,
    surb_id: [u8; ID_LEN],
    rng: &mut impl CryptoRng,
) -> Result<(Surb, SurbKeys), BuildError> {
    build_surb_tabled(&NO_TABLES, network, path, class, surb_id, rng)
}

/// [`build_surb`] with tables for some or all of the path's keys: the same block for the same draws, sooner.
pub fn build_surb_tabled(
    tables: &KeyTables,
    network: &NetworkId,
    path: &[Hop],
    class: Class,
    surb_id: [u8; ID_LEN],
    rng: &mut impl CryptoRng,
) -> Result<(Surb, SurbKeys), BuildError> {
    check_path(path)?;
    let (header, hop_keys) = build_header(
        tables,
        network,
        path,
        class,
        Command::Reply { surb_id },
        rng,
    );
    // Filled where they stay: arrays that are moved leave copies that nobody erases.
    let mut keys = SurbKeys {
        hops: path.len() as u8,
        key: [0; PAYLOAD_KEY_LEN],
        layers: [[0; PAYLOAD_KEY_LEN]; MAX_HOPS],
    };
    rng.fill_bytes(&mut keys.key);
    for (layer, keys) in keys.layers.iter_mut().zip(&hop_keys) {
        *layer = keys.payload;
    }
    let first = path.first().map_or([0; ID_LEN], |hop| hop.id.0);
    let key = keys.key;
    Ok((Surb { header, first, key }, keys))
}

impl Surb {
    /// The wire form: header 229, first hop 16, key 32.
    pub fn to_bytes(&self) -> [u8; SURB_LEN] {
        let mut bytes = [0; SURB_LEN];
        bytes[..HEADER_LEN].copy_from_slice(&self.header);
        bytes[HEADER_LEN..HEADER_LEN + ID_LEN].copy_from_slice(&self.first);
        bytes[HEADER_LEN + ID_LEN..].copy_from_slice(&self.key);
        bytes
    }

    /// Reads the wire form. Only the version can be judged here; the mixes judge the rest.
    pub fn from_bytes(bytes: &[u8; SURB_LEN]) -> Result<Self, Malformed> {
        if bytes[0] != VERSION {
            return Err(Malformed::Field);
        }
        Ok(Self {
            header: copy(&bytes[..HEADER_LEN]),
            first: copy(&bytes[HEADER_LEN..HEADER_LEN + ID_LEN]),
            key: copy(&bytes[HEADER_LEN + ID_LEN..]),
        })
    }

    /// Uses the block up: the packet that carries `body` (1,803 bytes) home, and the hop to give it to.
    pub fn reply(self, body: &[u8; BODY_LEN]) -> (ShortId, Packet) {
        let mut packet = Packet::zeroed();
        packet.bytes_mut()[..HEADER_LEN].copy_from_slice(&self.header);
        packet.delta_mut()[TAG_LEN..].copy_from_slice(body);
        Lioness::new(&self.key).encrypt(packet.delta_mut());
        (ShortId(self.first), packet)
    }
}

impl fmt::Debug for Surb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surb(..)")
    }
}

impl SurbKeys {
    /// Opens a reply as the mixer delivered it ([`crate::Event::Reply`]): the 1,803 bytes that the user of the block wrote.
    pub fn open(&self, mut packet: Packet) -> Result<Box<[u8; BODY_LEN]>, SurbError> {
        // Every hop took a layer off that nobody had put on; put them back on, the last hop's first.
        for layer in self.layers.iter().take(usize::from(self.hops)).rev() {
            Lioness::new(layer).encrypt(packet.delta_mut());
        }
        Lioness::new(&self.key).decrypt(packet.delta_mut());
        if tag_is_zero(packet.delta()) {
            Ok(packet.body())
        } else {
            Err(SurbError::Payload)
        }
    }

    /// The form to persist (193 bytes), encrypted at rest.
    pub fn to_bytes(&self) -> Zeroizing<[u8; SURB_KEYS_LEN]> {
        let mut bytes = Zeroizing::new([0; SURB_KEYS_LEN]);
        bytes[0] = self.hops;
        bytes[1..1 + PAYLOAD_KEY_LEN].copy_from_slice(&self.key);
        bytes[1 + PAYLOAD_KEY_LEN..].copy_from_slice(self.layers.as_flattened());
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub fn from_bytes(bytes: &[u8; SURB_KEYS_LEN]) -> Result<Self, Malformed> {
        let hops = bytes[0];
        if hops == 0 || usize::from(hops) > MAX_HOPS {
            return Err(Malformed::Field);
        }
        let mut layers = [[0; PAYLOAD_KEY_LEN]; MAX_HOPS];
        layers
            .as_flattened_mut()
            .copy_from_slice(&bytes[1 + PAYLOAD_KEY_LEN..]);
        Ok(Self {
            hops,
            key: copy(&bytes[1..1 + PAYLOAD_KEY_LEN]),
            layers,
        })
    }
}

impl fmt::Debug for SurbKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SurbKeys(..)")
    }
}
