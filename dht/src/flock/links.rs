//! The links of a slot: who may hand packets to whom, computed by anyone from the directory.
//!
//! Up to [`FULL_MESH_UP_TO`] nodes on duty link to each other. Above, each hands packets to [`SUCCESSORS`] of them, drawn by a
//! public generator that nobody can steer: an expander, on which three steps mix as well as on the full mesh. A node off duty
//! holds links to [`ATTACHED`] nodes on duty, drawn the same way. A leaf's links go to guards of its own choice, which nobody else
//! knows (`guarded`). SPEC.md §8.

use crate::directory::{Directory, Entry};
use mix::ShortId;

/// Up to this many nodes on duty, all of them link to each other.
pub const FULL_MESH_UP_TO: usize = 256;
/// Nodes on duty to which a node on duty hands packets, above that.
pub const SUCCESSORS: usize = 32;
/// Nodes on duty with which a node off duty holds links.
pub const ATTACHED: usize = 8;

/// Whether this node links to guards of its own choice: it neither mixes nor holds mailboxes, so nobody has to reach it.
pub fn is_leaf(entry: &Entry) -> bool {
    entry.capability().weight() == 0 && !entry.capability().holder()
}

/// Who hands packets to whom among those on duty, by their place in the flock.
#[derive(Clone, Debug)]
pub(super) enum Links {
    /// Everyone to everyone.
    Full,
    /// [`SUCCESSORS`] of each, ascending, one after the other.
    Expander(Vec<u32>),
}

impl Links {
    pub(super) fn new(directory: &Directory, slot: u64, members: &[u32]) -> Self {
        if members.len() <= FULL_MESH_UP_TO {
            return Self::Full;
        }
        let shorts = members
            .iter()
            .zip(0u32..)
            .filter_map(|(i, at)| Some((directory.entry(*i as usize)?.short(), at)));
        let seed = directory.header().seed;
        Self::Expander(
            shorts
                .flat_map(|(short, at)| {
                    drawn(&seed, slot, &short, members.len(), SUCCESSORS, Some(at))
                })
                .collect(),
        )
    }

    /// The places to which the node at this place hands packets; `None`: all.
    pub(super) fn after(&self, at: usize) -> Option<&[u32]> {
        match self {
            Self::Full => None,
            Self::Expander(all) => Some(all.get(at * SUCCESSORS..(at + 1) * SUCCESSORS)?),
        }
    }

    /// The places from which the node at this place gets packets; `None`: all.
    pub(super) fn before(&self, at: u32) -> Option<Vec<u32>> {
        let Self::Expander(all) = self else {
            return None;
        };
        let lists = all.chunks_exact(SUCCESSORS).zip(0u32..);
        Some(
            lists
                .filter(|(list, _)| list.binary_search(&at).is_ok())
                .map(|(_, from)| from)
                .collect(),
        )
    }
}

/// Distinct places below `among`, `own` left out, that a node draws in a slot; ascending. All of them if there are no more than
/// `count`.
///
/// The words of 4 B, little-endian, of the extendable output of `derive("expander", seed ‖ slot 8 ‖ short id)`, one after the
/// other; a word at or above the largest multiple of `among` is skipped (it would favour low places), any other names the place
/// word mod `among`; a place already drawn, or our own, is skipped.
pub fn drawn(
    seed: &[u8; 32],
    slot: u64,
    short: &ShortId,
    among: usize,
    count: usize,
    own: Option<u32>,
) -> Vec<u32> {
    let Some(among) = u32::try_from(among).ok().filter(|among| *among > 0) else {
        return Vec::new();
    };
    let others = among as usize - usize::from(own.is_some());
    if others <= count {
        return (0..among).filter(|place| Some(*place) != own).collect();
    }
    let mut output = blake3::Hasher::new_derive_key("murmuration/v1/expander")
        .update(seed)
        .update(&slot.to_le_bytes())
        .update(&short.0)
        .finalize_xof();
    let whole = u64::from(u32::MAX) + 1;
    let fair = whole - whole % u64::from(among);
    let mut places = Vec::with_capacity(count);
    let mut block = [0; 64];
    // More places are wanted than drawn, so it ends; each word finds a new one with a probability above 1/2 · 1/among.
    while places.len() < count {
        output.fill(&mut block);
        for word in block.chunks_exact(4) {
            let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            let place = word % among;
            if u64::from(word) < fair && Some(place) != own && !places.contains(&place) {
                places.push(place);
                if places.len() == count {
                    break;
                }
            }
        }
    }
    places.sort_unstable();
    places
}

#[cfg(test)]
mod tests;
