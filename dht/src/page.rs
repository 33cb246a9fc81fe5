//! Pages: what the DHT serves of a directory, so that newcomers can learn the whole set and nobody looks up one chosen hop.
//!
//! Holds [`Page`] (a contiguous run of ≤ 24 entries with its proof), [`Head`] (the header and, later, its certificate) and the
//! keys they are served under. Decodes lengths before it loops. Does not decide what to fetch or believe: that is `pki`. SPEC.md §9.

use crate::{
    beat::{BEAT_LEN, Beat, LEAF_LEN, Leaf},
    counters::DropReason,
    descriptor::{Descriptor, MAX_DESCRIPTOR_LEN},
    directory::{Directory, Header},
    id::{Cell, derive},
    merkle,
    weights::Standing,
    wire::Reader,
};
use mix::NetworkId;

/// Entries of a page, but for the last one.
pub const PAGE_ENTRIES: usize = 24;
/// Longest page, in bytes: below the 16 KiB of a Kademlia message.
pub const MAX_PAGE_LEN: usize = PAGE_HEAD_LEN
    + PAGE_ENTRIES * (2 + 2 + MAX_DESCRIPTOR_LEN + BEAT_LEN)
    + 1
    + merkle::MAX_PROOF * 32;
/// Longest certificate in a head record, in bytes.
pub const MAX_CERTIFICATE_LEN: usize = 8_192;
/// Longest head record, in bytes.
pub const MAX_HEAD_LEN: usize = Header::LEN + 2 + MAX_CERTIFICATE_LEN;

mod past;

pub use past::{
    BansPage, MAX_BANS_PAGE_LEN, MAX_START_LEN, PAGE_BANS, bans_page_key, bans_pages, decode_start,
    encode_start, for_newcomers, start_key,
};

const VERSION: u8 = 1;
/// Longest proof with its count.
const MAX_PROOF_LEN: usize = 1 + merkle::MAX_PROOF * 32;
const PAGE_HEAD_LEN: usize = 1 + 1 + 3 + 4 + 32 + 4 + 1;

/// What a page lists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum PageKind {
    /// Descriptor and beat of each node.
    Records = 1,
    /// Leaves only, for those who keep a digest.
    Leaves = 2,
}

/// Descriptor and beat of one node as they came, unchecked, and what the epoch grants it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordPair {
    /// Bytes 48 and 49 of its leaf: they follow from the past, which a reader of one page doesn't know.
    pub standing: Standing,
    /// An encoded descriptor, at most 320 B.
    pub descriptor: Vec<u8>,
    /// An encoded beat.
    pub beat: [u8; BEAT_LEN],
}

/// The entries of a page, at least one and at most 24.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entries {
    /// For [`PageKind::Records`].
    Records(Vec<RecordPair>),
    /// For [`PageKind::Leaves`].
    Leaves(Vec<Leaf>),
}

/// A contiguous run of one directory's entries, from `index × 24`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// The cell of the directory.
    pub cell: Cell,
    /// The epoch of the directory.
    pub epoch: u32,
    /// The root the page belongs to.
    pub root: [u8; 32],
    /// Which page.
    pub index: u32,
    /// What it lists.
    pub entries: Entries,
    /// Proof of the run against the header's tree.
    pub proof: Vec<[u8; 32]>,
}

/// The key a page is served under: `derive("page", root ‖ kind ‖ index)`.
pub fn page_key(root: &[u8; 32], kind: PageKind, index: u32) -> [u8; 32] {
    derive(
        "murmuration/v1/page",
        &[root, &[kind as u8], &index.to_le_bytes()],
    )
}

/// The key the head records of an epoch are served under: `derive("head", network ‖ cell ‖ epoch)`.
pub fn head_key(network: &NetworkId, cell: Cell, epoch: u32) -> [u8; 32] {
    derive(
        "murmuration/v1/head",
        &[&network.0, &cell.to_bytes(), &epoch.to_le_bytes()],
    )
}

/// The key a certificate of an epoch is served under: `derive("certificate-key", network ‖ cell ‖ epoch)`.
pub fn certificate_key(network: &NetworkId, cell: Cell, epoch: u32) -> [u8; 32] {
    derive(
        "murmuration/v1/certificate-key",
        &[&network.0, &cell.to_bytes(), &epoch.to_le_bytes()],
    )
}

/// The key a list of candidates is served under, by the hash that a header names.
pub fn candidates_key(hash: &[u8; 32]) -> [u8; 32] {
    derive("murmuration/v1/candidates-key", &[hash])
}

/// The key a list of bans is served under, by the hash that a header names.
pub fn bans_key(hash: &[u8; 32]) -> [u8; 32] {
    derive("murmuration/v1/bans-key", &[hash])
}

/// Pages of each kind in a directory of `count` entries.
pub fn page_count(count: u32) -> u32 {
    count.div_ceil(PAGE_ENTRIES as u32)
}

impl Page {
    /// Page `index` of a directory; `None` beyond its end.
    pub fn of(directory: &Directory, kind: PageKind, index: u32) -> Option<Self> {
        let start = (index as usize).checked_mul(PAGE_ENTRIES)?;
        let len = directory.len().checked_sub(start)?.min(PAGE_ENTRIES);
        let proof = directory.prove(start, len)?;
        let run = (start..start + len).filter_map(|i| directory.entry(i));
        let entries = match kind {
            PageKind::Records => Entries::Records(
                run.map(|entry| RecordPair {
                    standing: entry.standing(),
                    descriptor: entry.descriptor().as_bytes().to_vec(),
                    beat: *entry.beat().as_bytes(),
                })
                .collect(),
            ),
            PageKind::Leaves => Entries::Leaves(run.map(|entry| entry.leaf()).collect()),
        };
        let header = directory.header();
        Some(Self {
            cell: header.cell,
            epoch: header.epoch,
            root: directory.root(),
            index,
            entries,
            proof,
        })
    }

    /// What it lists.
    pub fn kind(&self) -> PageKind {
        match self.entries {
            Entries::Records(_) => PageKind::Records,
            Entries::Leaves(_) => PageKind::Leaves,
        }
    }

    /// The key it is served under.
    pub fn key(&self) -> [u8; 32] {
        page_key(&self.root, self.kind(), self.index)
    }

    /// The wire bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.kind() as u8];
        out.extend_from_slice(&self.cell.to_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.root);
        out.extend_from_slice(&self.index.to_le_bytes());
        match &self.entries {
            Entries::Records(pairs) => {
                out.push(pairs.len() as u8);
                for pair in pairs {
                    out.extend_from_slice(&pair.standing.to_bytes());
                    out.extend_from_slice(&(pair.descriptor.len() as u16).to_le_bytes());
                    out.extend_from_slice(&pair.descriptor);
                    out.extend_from_slice(&pair.beat);
                }
            }
            Entries::Leaves(leaves) => {
                out.push(leaves.len() as u8);
                for leaf in leaves {
                    out.extend_from_slice(&leaf.to_bytes());
                }
            }
        }
        out.push(self.proof.len() as u8);
        for hash in &self.proof {
            out.extend_from_slice(hash);
        }
        out
    }

    /// Reads the wire bytes. Neither proof nor records are checked.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] or [`DropReason::Version`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DropReason> {
        if bytes.len() > MAX_PAGE_LEN {
            return Err(DropReason::Malformed);
        }
        if bytes.first().is_some_and(|version| *version != VERSION) {
            return Err(DropReason::Version);
        }
        Self::parse(bytes).ok_or(DropReason::Malformed)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        reader.u8()?;
        let kind = reader.u8()?;
        let cell = Cell::from_bytes(reader.array()?)?;
        let epoch = reader.u32()?;
        let root = reader.array()?;
        let index = reader.u32()?;
        let count = usize::from(reader.u8()?);
        if count == 0 || count > PAGE_ENTRIES {
            return None;
        }
        let entries = match kind {
            1 => Entries::Records(
                (0..count)
                    .map(|_| record_pair(&mut reader))
                    .collect::<Option<_>>()?,
            ),
            2 => Entries::Leaves(
                (0..count)
                    .map(|_| leaf(&mut reader))
                    .collect::<Option<_>>()?,
            ),
            _ => return None,
        };
        let hashes = usize::from(reader.u8()?);
        if hashes > merkle::MAX_PROOF {
            return None;
        }
        let proof = (0..hashes).map(|_| reader.array()).collect::<Option<_>>()?;
        reader.end()?;
        Some(Self {
            cell,
            epoch,
            root,
            index,
            entries,
            proof,
        })
    }

    /// Whether the page is the one of this header: root, place, length and proof. Signatures are not checked.
    pub fn verify(&self, header: &Header) -> bool {
        let start = self.index as usize * PAGE_ENTRIES;
        let Some(leaves) = self.leaves() else {
            return false;
        };
        let expected = (header.count as usize)
            .saturating_sub(start)
            .min(PAGE_ENTRIES);
        let run: Vec<_> = leaves
            .iter()
            .map(|leaf| merkle::leaf_hash(&leaf.to_bytes()))
            .collect();
        self.root == header.root()
            && self.epoch == header.epoch
            && self.cell == header.cell
            && leaves.len() == expected
            && merkle::verify(
                &header.tree,
                header.count as usize,
                start,
                &run,
                &self.proof,
            )
    }

    /// Its leaves, computed from the records if it lists those; `None` if one of them doesn't parse, or is said to be granted more
    /// than it declares.
    pub fn leaves(&self) -> Option<Vec<Leaf>> {
        match &self.entries {
            Entries::Leaves(leaves) => Some(leaves.clone()),
            Entries::Records(pairs) => pairs
                .iter()
                .map(|pair| {
                    let descriptor = Descriptor::decode(&pair.descriptor).ok()?;
                    let beat = Beat::decode(&pair.beat).ok()?;
                    let within = pair.standing.within(&descriptor, &beat);
                    within.then(|| Leaf::of(&descriptor, &beat, pair.standing))
                })
                .collect(),
        }
    }
}

fn record_pair(reader: &mut Reader<'_>) -> Option<RecordPair> {
    let standing = Standing::from_bytes(reader.array()?)?;
    let len = usize::from(reader.u16()?);
    if len > MAX_DESCRIPTOR_LEN {
        return None;
    }
    Some(RecordPair {
        standing,
        descriptor: reader.bytes(len)?.to_vec(),
        beat: reader.array()?,
    })
}

fn leaf(reader: &mut Reader<'_>) -> Option<Leaf> {
    Leaf::from_bytes(&reader.array::<LEAF_LEN>()?)
}

/// The head record of an epoch: its header and the certificate that stands behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// The header.
    pub header: Header,
    /// The certificate, at most 8,192 B; empty in union mode.
    pub certificate: Vec<u8>,
}

impl Head {
    /// The head of a directory in union mode.
    pub fn of(directory: &Directory) -> Self {
        Self {
            header: *directory.header(),
            certificate: Vec::new(),
        }
    }

    /// The key it is served under.
    pub fn key(&self) -> [u8; 32] {
        head_key(&self.header.params, self.header.cell, self.header.epoch)
    }

    /// The wire bytes: header, length of the certificate as u16, certificate.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.header.to_bytes().to_vec();
        out.extend_from_slice(&(self.certificate.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.certificate);
        out
    }

    /// Reads the wire bytes.
    ///
    /// # Errors
    /// [`DropReason::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DropReason> {
        Self::parse(bytes).ok_or(DropReason::Malformed)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let header = Header::from_bytes(&reader.array()?)?;
        let len = usize::from(reader.u16()?);
        if len > MAX_CERTIFICATE_LEN {
            return None;
        }
        let certificate = reader.bytes(len)?.to_vec();
        reader.end()?;
        Some(Self {
            header,
            certificate,
        })
    }
}

#[cfg(test)]
mod tests;
