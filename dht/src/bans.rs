//! Who is kept out of an epoch's set, and until when: a list that follows from the proven faults by rule.
//!
//! Whoever knows the list of the last certified directory and the same faults computes the same list. The header commits to it as
//! a tree, so that anyone can prove of a node that it was not banned. Holds [`Bans`]; what proves a fault is in `fault`. SPEC.md §15.

use crate::{
    counters::DropReason,
    id::derive,
    merkle::{self, Gap},
    wire::Reader,
};
use mix::ShortId;
use std::collections::BTreeMap;

/// Most entries. When there were more, those that end first are dropped, of equal ones the highest short ids.
pub const MAX_BANS: usize = 8_192;
/// Bytes of an entry: short id 16, until 4.
pub const BAN_LEN: usize = 20;
/// Longest encoding, in bytes.
pub const MAX_BANS_LEN: usize = 1 + 4 + MAX_BANS * BAN_LEN;

const VERSION: u8 = 1;

/// A proven fault, as far as the list is concerned: who, and in which epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Offence {
    /// The node at fault.
    pub culprit: ShortId,
    /// The epoch whose beat, vote or proposal proves it.
    pub epoch: u32,
}

/// The list of one epoch: who is out, and the first epoch in which it may be back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bans {
    until: BTreeMap<ShortId, u32>,
}

impl Bans {
    /// The list of `epoch`: those of the last certified list (`self`) whose time isn't over, and the proven faults.
    ///
    /// A fault of a `member` (of the last certified directory) counts until `ban_epochs` after its epoch; of anybody else only in
    /// its own epoch, for a new identity would cost it nothing. It doesn't matter when or how often a fault becomes known.
    pub fn next(
        &self,
        epoch: u32,
        ban_epochs: u32,
        offences: impl IntoIterator<Item = Offence>,
        member: impl Fn(&ShortId) -> bool,
    ) -> Self {
        let mut until = self.until.clone();
        for offence in offences {
            let span = if member(&offence.culprit) {
                ban_epochs
            } else {
                1
            };
            if offence.epoch <= epoch {
                let end = until.entry(offence.culprit).or_default();
                *end = (*end).max(offence.epoch.saturating_add(span));
            }
        }
        until.retain(|_, end| *end > epoch);
        if until.len() > MAX_BANS {
            let mut ends: Vec<_> = until.into_iter().collect();
            ends.sort_unstable_by_key(|(short, end)| (core::cmp::Reverse(*end), *short));
            ends.truncate(MAX_BANS);
            until = ends.into_iter().collect();
        }
        Self { until }
    }

    /// Whether a node is kept out of the list's epoch.
    pub fn contains(&self, short: &ShortId) -> bool {
        self.until.contains_key(short)
    }

    /// The first epoch in which it may be back.
    pub fn until(&self, short: &ShortId) -> Option<u32> {
        self.until.get(short).copied()
    }

    /// Everyone on it, by short id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&ShortId, u32)> {
        self.until.iter().map(|(short, until)| (short, *until))
    }

    /// How many are out.
    pub fn len(&self) -> usize {
        self.until.len()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    /// What the header says: `derive("bans", count 4 ‖ root of the tree over the entries)`.
    pub fn hash(&self) -> [u8; 32] {
        commitment(self.len() as u32, &self.tree().root())
    }

    /// The wire bytes: version 1 ‖ count 4 ‖ entries by short id.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&(self.len() as u32).to_le_bytes());
        for entry in self.entries() {
            out.extend_from_slice(&entry);
        }
        out
    }

    /// Reads the wire bytes. Whether it is the list of a header is for [`hash`](Self::hash) to say.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] or [`DropReason::Version`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DropReason> {
        if bytes.first().is_some_and(|version| *version != VERSION) {
            return Err(DropReason::Version);
        }
        parse(bytes).ok_or(DropReason::Malformed)
    }

    /// Proof against [`hash`](Self::hash) that a node is not on the list; `None` if it is.
    pub fn prove_absence(&self, short: &ShortId) -> Option<NotBanned> {
        if self.contains(short) {
            return None;
        }
        let entries: Vec<_> = self.entries().collect();
        let at = entries.partition_point(|entry| entry[..16] < short.0[..]);
        let tree = self.tree();
        Some(NotBanned {
            count: self.len() as u32,
            tree: tree.root(),
            gap: Gap::of(&tree, at, |i| entries.get(i).copied())?,
        })
    }

    /// A list of these entries; `None` unless they ascend.
    pub(crate) fn of_entries(entries: &[(ShortId, u32)]) -> Option<Self> {
        let ascending = entries.windows(2).all(|pair| pair[0].0 < pair[1].0);
        (ascending && entries.len() <= MAX_BANS).then(|| Self {
            until: entries.iter().copied().collect(),
        })
    }

    /// What the hash is made of, and the proof of a run of entries.
    pub(crate) fn part(&self, start: usize, len: usize) -> Option<(BansPart, Vec<[u8; 32]>)> {
        let tree = self.tree();
        let proof = tree.prove(start, len)?;
        let of = BansPart {
            count: self.len() as u32,
            tree: tree.root(),
        };
        Some((of, proof))
    }

    fn entries(&self) -> impl Iterator<Item = [u8; BAN_LEN]> {
        self.until.iter().map(|(short, until)| entry(short, *until))
    }

    fn tree(&self) -> merkle::Tree {
        merkle::Tree::new(self.entries().map(|e| merkle::leaf_hash(&e)).collect())
    }
}

/// Proof that a node is not on a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotBanned {
    count: u32,
    tree: [u8; 32],
    gap: Gap<BAN_LEN>,
}

impl NotBanned {
    /// Whether the list with this [`Bans::hash`] lacks the node.
    pub fn verify(&self, bans: &[u8; 32], short: &ShortId) -> bool {
        commitment(self.count, &self.tree) == *bans
            && self
                .gap
                .verify(&self.tree, self.count, |entry| entry[..16].cmp(&short.0))
    }

    /// Appends `count 4 ‖ tree 32 ‖ gap`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.tree);
        self.gap.encode(out);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let count = reader.u32()?;
        if count as usize > MAX_BANS {
            return None;
        }
        Some(Self {
            count,
            tree: reader.array()?,
            gap: Gap::decode(reader, count)?,
        })
    }
}

/// What the hash of a list is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BansPart {
    /// Entries of the whole list.
    pub count: u32,
    /// Root of the tree over them.
    pub tree: [u8; 32],
}

impl BansPart {
    /// Whether the list with this [`Bans::hash`] has these entries from `start` on.
    pub(crate) fn holds(
        &self,
        hash: &[u8; 32],
        start: usize,
        run: &[(ShortId, u32)],
        proof: &[[u8; 32]],
    ) -> bool {
        let run: Vec<_> = (run.iter())
            .map(|(short, until)| merkle::leaf_hash(&entry(short, *until)))
            .collect();
        commitment(self.count, &self.tree) == *hash
            && merkle::verify(&self.tree, self.count as usize, start, &run, proof)
    }
}

fn entry(short: &ShortId, until: u32) -> [u8; BAN_LEN] {
    let mut out = [0; BAN_LEN];
    out[..16].copy_from_slice(&short.0);
    out[16..].copy_from_slice(&until.to_le_bytes());
    out
}

fn commitment(count: u32, tree: &[u8; 32]) -> [u8; 32] {
    derive("murmuration/v1/bans", &[&count.to_le_bytes(), tree])
}

fn parse(bytes: &[u8]) -> Option<Bans> {
    let mut reader = Reader::new(bytes);
    reader.u8()?;
    let count = reader.u32()? as usize;
    if count > MAX_BANS || bytes.len() != 1 + 4 + count * BAN_LEN {
        return None;
    }
    let mut until = BTreeMap::new();
    for _ in 0..count {
        let short = ShortId(reader.array()?);
        let ascending = until.last_key_value().is_none_or(|(last, _)| *last < short);
        if !ascending {
            return None;
        }
        until.insert(short, reader.u32()?);
    }
    reader.end()?;
    Some(Bans { until })
}

#[cfg(test)]
mod tests;
