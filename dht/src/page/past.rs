//! What the DHT serves of the past, so that a newcomer can follow certificates from a checkpoint, and of a header's list of bans.
//!
//! Every value is named by a hash of what it must be, or carries its proof: whoever holds the root that it follows from can check
//! it alone. SPEC.md §25.

use crate::{
    bans::{BAN_LEN, Bans, BansPart, MAX_BANS},
    committee::{Candidates, MAX_CANDIDATES_LEN},
    counters::DropReason,
    directory::{Directory, Header},
    id::derive,
    merkle,
    wire::Reader,
};
use mix::{NetworkId, ShortId};

use super::MAX_PROOF_LEN;

/// Longest start of a chain, in bytes: below the 16 KiB of a Kademlia message.
pub const MAX_START_LEN: usize = Header::LEN + MAX_CANDIDATES_LEN;
/// Bans of a page, but for the last one.
pub const PAGE_BANS: usize = 512;
/// Longest page of bans, in bytes.
pub const MAX_BANS_PAGE_LEN: usize = 1 + 4 + 4 + 32 + 2 + PAGE_BANS * BAN_LEN + MAX_PROOF_LEN;

const VERSION: u8 = 1;

/// The key of what a chain begins with: `derive("start", root)`.
pub fn start_key(root: &[u8; 32]) -> [u8; 32] {
    derive("murmuration/v1/start", &[root])
}

/// The key of a page of the bans that a header commits to: `derive("bans-page", hash ‖ index)`.
pub fn bans_page_key(hash: &[u8; 32], index: u32) -> [u8; 32] {
    derive("murmuration/v1/bans-page", &[hash, &index.to_le_bytes()])
}

/// Pages of a list of `count` bans.
pub fn bans_pages(count: u32) -> u32 {
    count.div_ceil(PAGE_BANS as u32)
}

/// What a chain begins with: the header of a trusted root and the candidates it commits to.
pub fn encode_start(header: &Header, next: &Candidates) -> Vec<u8> {
    let mut out = header.to_bytes().to_vec();
    out.extend_from_slice(&next.encode());
    out
}

/// Reads what [`encode_start`] wrote. That it is that of a root, is for [`Chain`](crate::certificate::Chain) to say.
///
/// # Errors
/// [`DropReason::Malformed`], [`DropReason::Version`] or [`DropReason::Key`].
pub fn decode_start(network: &NetworkId, bytes: &[u8]) -> Result<(Header, Candidates), DropReason> {
    let (header, next) = bytes.split_first_chunk().ok_or(DropReason::Malformed)?;
    let header = Header::from_bytes(header).ok_or(DropReason::Malformed)?;
    Ok((header, Candidates::decode(network, next)?))
}

/// Part of a list of bans, with its proof.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BansPage {
    /// Which page.
    pub index: u32,
    /// What the list's hash is made of.
    pub of: BansPart,
    /// Who is banned, and until when, by short id.
    pub entries: Vec<(ShortId, u32)>,
    /// Proof of the run in the list's tree.
    pub proof: Vec<[u8; 32]>,
}

impl BansPage {
    /// Page `index` of a list; `None` beyond its end.
    pub fn of(bans: &Bans, index: u32) -> Option<Self> {
        let start = (index as usize).checked_mul(PAGE_BANS)?;
        let len = bans.len().checked_sub(start)?.min(PAGE_BANS);
        let (of, proof) = bans.part(start, len)?;
        let run = bans.iter().skip(start).take(len);
        Some(Self {
            index,
            of,
            entries: run.map(|(short, until)| (*short, until)).collect(),
            proof,
        })
    }

    /// Whether it is its part of the list with this hash, no more and no less.
    pub fn verify(&self, hash: &[u8; 32]) -> bool {
        let start = self.index as usize * PAGE_BANS;
        let whole = self.of.count as usize;
        self.entries.len() == whole.saturating_sub(start).min(PAGE_BANS)
            && self.of.holds(hash, start, &self.entries, &self.proof)
    }

    /// The wire bytes: version 1 ‖ index 4 ‖ count of the list 4 ‖ tree 32 ‖ count 2 ‖ entries of 20 B ‖ count 1 ‖ hashes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.index.to_le_bytes());
        out.extend_from_slice(&self.of.count.to_le_bytes());
        out.extend_from_slice(&self.of.tree);
        out.extend_from_slice(&(self.entries.len() as u16).to_le_bytes());
        for (short, until) in &self.entries {
            out.extend_from_slice(&short.0);
            out.extend_from_slice(&until.to_le_bytes());
        }
        out.push(self.proof.len() as u8);
        out.extend_from_slice(self.proof.as_flattened());
        out
    }

    /// Reads the wire bytes; the proof isn't checked.
    ///
    /// # Errors
    /// [`DropReason::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DropReason> {
        Self::parse(bytes).ok_or(DropReason::Malformed)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        (reader.u8()? == VERSION).then_some(())?;
        let index = reader.u32()?;
        let (count, tree) = (reader.u32()?, reader.array()?);
        let entries = usize::from(reader.u16()?);
        if count as usize > MAX_BANS || !(1..=PAGE_BANS).contains(&entries) {
            return None;
        }
        let entries = (0..entries).map(|_| Some((ShortId(reader.array()?), reader.u32()?)));
        let entries = entries.collect::<Option<_>>()?;
        let hashes = usize::from(reader.u8()?);
        if hashes > merkle::MAX_PROOF {
            return None;
        }
        let proof = (0..hashes).map(|_| reader.array()).collect::<Option<_>>()?;
        reader.end()?;
        Some(Self {
            index,
            of: BansPart { count, tree },
            entries,
            proof,
        })
    }
}

/// What a certified directory gives to those who come later, beside its pages, candidates and certificate: by key.
pub fn for_newcomers(directory: &Directory) -> Vec<([u8; 32], Vec<u8>)> {
    let (header, bans) = (directory.header(), directory.bans());
    let start = encode_start(header, directory.next_candidates());
    let mut out = vec![(start_key(&directory.root()), start)];
    let pages = (0..bans_pages(bans.len() as u32)).filter_map(|index| BansPage::of(bans, index));
    out.extend(pages.map(|page| (bans_page_key(&header.bans, page.index), page.encode())));
    out
}
