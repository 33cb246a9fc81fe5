//! The header: what a root commits to besides the leaves. SPEC.md §6.

use crate::{
    id::{Cell, derive},
    wire::Reader,
};
use mix::NetworkId;

/// What a root commits to besides the leaves, 204 B.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The cell this directory covers.
    pub cell: Cell,
    /// Its epoch.
    pub epoch: u32,
    /// Number of leaves.
    pub count: u32,
    /// Network id: the hash of the network parameters.
    pub params: NetworkId,
    /// The seed that orders the leaves and draws the flock.
    pub seed: [u8; 32],
    /// Hash of the list of banned ids; zero in union mode.
    pub bans: [u8; 32],
    /// Hash of certificate e−1; zero in union mode.
    pub previous_certificate: [u8; 32],
    /// Hash of the committee of e+1; zero in union mode.
    pub next_committee: [u8; 32],
    /// Root of the tree over the leaves.
    pub tree: [u8; 32],
}

impl Header {
    /// Bytes on the wire.
    pub const LEN: usize = 204;
    const VERSION: u8 = 1;

    /// The 204 wire bytes.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[0] = Self::VERSION;
        out[1..4].copy_from_slice(&self.cell.to_bytes());
        out[4..8].copy_from_slice(&self.epoch.to_le_bytes());
        out[8..12].copy_from_slice(&self.count.to_le_bytes());
        let hashes = [
            &self.params.0,
            &self.seed,
            &self.bans,
            &self.previous_certificate,
            &self.next_committee,
            &self.tree,
        ];
        for (chunk, hash) in out[12..].chunks_exact_mut(32).zip(hashes) {
            chunk.copy_from_slice(hash);
        }
        out
    }

    /// Reads the 204 wire bytes; `None` unless canonical.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        (reader.u8()? == Self::VERSION).then_some(())?;
        Some(Self {
            cell: Cell::from_bytes(reader.array()?)?,
            epoch: reader.u32()?,
            count: reader.u32()?,
            params: NetworkId(reader.array()?),
            seed: reader.array()?,
            bans: reader.array()?,
            previous_certificate: reader.array()?,
            next_committee: reader.array()?,
            tree: reader.array()?,
        })
    }

    /// The root nodes compare: `derive("root", header bytes)`.
    pub fn root(&self) -> [u8; 32] {
        derive("murmuration/v1/root", &[&self.to_bytes()])
    }
}
