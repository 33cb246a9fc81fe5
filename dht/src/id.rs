//! Who a node is: its identity key, the short name packets carry, and its one coordinate.
//!
//! Holds [`NodeId`], [`short_id`], [`Position`] and XOR distance, and [`Cell`], the prefix of the ring that all formats carry
//! from day one. Does not hold addresses or keys that change; those are in `descriptor` and `beat`. SPEC.md §1.

use core::fmt;
use mix::{NetworkId, ShortId};

/// The Ed25519 public key of a node, 32 B. It is also its libp2p PeerId.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 32]);

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "NodeId({:02x}{:02x}{:02x}{:02x}…)",
            self.0[0], self.0[1], self.0[2], self.0[3]
        )
    }
}

/// The 16 B name of a node inside packets and beats: the first half of `derive("short-id", network ‖ node id)`.
pub fn short_id(network: &NetworkId, id: &NodeId) -> ShortId {
    let hash = derive("murmuration/v1/short-id", &[&network.0, &id.0]);
    let mut short = [0; 16];
    short.copy_from_slice(&hash[..16]);
    ShortId(short)
}

/// A node's one coordinate, 32 B: Kademlia distance, mailbox placement and cells all use it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Position(pub [u8; 32]);

impl Position {
    /// The position of a node: `derive("pos", seed at admission ‖ node id)`. Until certificates exist the seed is the genesis seed.
    pub fn of_node(seed: &[u8; 32], id: &NodeId) -> Self {
        Self(derive("murmuration/v1/pos", &[seed, &id.0]))
    }

    /// The point of the ring a mailbox belongs to: `derive("box-pos", box id)`, so that nobody can choose it by choosing an id.
    pub fn of_box(box_id: &[u8; 32]) -> Self {
        Self(derive("murmuration/v1/box-pos", &[box_id]))
    }

    /// XOR distance; compares as a big-endian number.
    pub fn distance(&self, other: &Self) -> [u8; 32] {
        let mut out = self.0;
        for (a, b) in out.iter_mut().zip(other.0) {
            *a ^= b;
        }
        out
    }
}

/// A cell of the ring: the nodes whose position starts with `bits` bits of `prefix`. The whole ring is [`Cell::WHOLE`].
///
/// On the wire 3 B: bits, then the prefix as a big-endian u16 whose unused low bits are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Cell {
    bits: u8,
    prefix: u16,
}

impl Cell {
    /// Bytes on the wire.
    pub const LEN: usize = 3;
    /// The ring before its first split.
    pub const WHOLE: Self = Self { bits: 0, prefix: 0 };

    /// A cell, unless `bits` exceeds 16 or `prefix` has bits set below them.
    pub fn new(bits: u8, prefix: u16) -> Option<Self> {
        let mask = Self::mask(bits)?;
        (prefix & !mask == 0).then_some(Self { bits, prefix })
    }

    /// How many bits of the prefix count.
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// The prefix; its unused low bits are zero.
    pub fn prefix(self) -> u16 {
        self.prefix
    }

    /// Whether a position lies in this cell.
    pub fn contains(&self, position: &Position) -> bool {
        let head = u16::from_be_bytes([position.0[0], position.0[1]]);
        Self::mask(self.bits).is_some_and(|mask| head & mask == self.prefix)
    }

    /// The 3 wire bytes.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let [high, low] = self.prefix.to_be_bytes();
        [self.bits, high, low]
    }

    /// Reads the 3 wire bytes; `None` unless canonical.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Option<Self> {
        Self::new(bytes[0], u16::from_be_bytes([bytes[1], bytes[2]]))
    }

    fn mask(bits: u8) -> Option<u16> {
        match bits {
            0 => Some(0),
            1..=16 => Some(u16::MAX << (16 - bits)),
            _ => None,
        }
    }
}

/// BLAKE3 key derivation over the concatenation of fixed-size parts. Every part but the last must have a fixed length.
pub(crate) fn derive(context: &'static str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// Like [`derive`], 64 B long: for drawing points and scalars without a bias.
pub(crate) fn derive_wide(context: &'static str, parts: &[&[u8]]) -> [u8; 64] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    let mut out = [0; 64];
    hasher.finalize_xof().fill(&mut out);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn short_id_is_bound_to_the_network() {
        let id = NodeId([7; 32]);
        assert_ne!(
            short_id(&NetworkId([0; 32]), &id),
            short_id(&NetworkId([1; 32]), &id)
        );
        assert_ne!(
            short_id(&NetworkId([0; 32]), &id),
            short_id(&NetworkId([0; 32]), &NodeId([8; 32]))
        );
    }

    #[test]
    fn distance_is_symmetric_and_zero_to_self() {
        let a = Position::of_node(&[1; 32], &NodeId([1; 32]));
        let b = Position::of_node(&[1; 32], &NodeId([2; 32]));
        assert_eq!(a.distance(&b), b.distance(&a));
        assert_eq!(a.distance(&a), [0; 32]);
    }

    #[test]
    fn cells_split_the_ring_without_gap_or_overlap() {
        let left = Cell::new(1, 0).unwrap();
        let right = Cell::new(1, 0x8000).unwrap();
        for n in 0..64 {
            let position = Position::of_node(&[3; 32], &NodeId([n; 32]));
            assert!(Cell::WHOLE.contains(&position));
            assert!(left.contains(&position) != right.contains(&position));
        }
        assert_eq!(
            Cell::new(1, 0x4000),
            None,
            "bits below the prefix must be zero"
        );
        assert_eq!(Cell::new(17, 0), None);
        assert_eq!(Cell::from_bytes(right.to_bytes()), Some(right));
    }

    #[test]
    fn debug_shortens_an_id() {
        assert_eq!(format!("{:?}", NodeId([0xab; 32])), "NodeId(abababab…)");
    }
}
