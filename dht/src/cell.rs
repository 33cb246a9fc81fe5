//! Cells: how the ring divides when it outgrows one directory, and how a node of one cell is believed in another.
//!
//! A cell is everything with a prefix of the ring (see [`Cell`]). It has a directory, a committee and certificates of its own, so
//! what a node pays for the records of others stops growing with the network. A division is for ever: cells only ever split in
//! two, so a node knows its cell from its position and nobody is ever moved about. Holds the partition, the rule by which a cell
//! splits, and the proof that a node belongs to a cell. Pure functions of bytes; running several cells is for later. SPEC.md §22.

use crate::{
    beat::{LEAF_LEN, Leaf},
    directory::{Directory, Header},
    id::{Cell, NodeId, Position, derive, short_id},
    merkle,
    network::NetworkParams,
};

mod membership;
mod partition;

pub use membership::{MAX_MEMBERSHIP_LEN, Member, Membership, MembershipError};
pub use partition::{MAX_CELLS, MAX_PARTITION_LEN, Partition};

/// A half is not split off with less than this part of the cell limit: a cell needs a crowd and a committee.
const LEAST_PART: usize = 4;

/// The two halves of a cell, the lower one first; `None` for one that can't be divided further.
pub fn halves(cell: Cell) -> Option<[Cell; 2]> {
    let bits = cell.bits().checked_add(1)?;
    let upper = 1u16.checked_shl(16u32.checked_sub(bits.into())?)?;
    Some([
        Cell::new(bits, cell.prefix())?,
        Cell::new(bits, cell.prefix() | upper)?,
    ])
}

/// Whether the cell of this directory splits, and into what: if it has more nodes than the cell limit, and each half has at least
/// a quarter of the limit.
///
/// What counts is the directory of a certified epoch e; the halves have directories of their own from epoch e + 2 on, because the
/// set of e + 1 may be under way when e is certified.
pub fn split(directory: &Directory) -> Option<[Cell; 2]> {
    let limit = usize::try_from(directory.params().cell_limit).unwrap_or(usize::MAX);
    if directory.len() <= limit {
        return None;
    }
    let halves = halves(directory.header().cell)?;
    let large_enough = |half: &Cell| {
        let inside = directory
            .nodes()
            .filter(|entry| half.contains(entry.position()));
        inside.count() >= limit.div_ceil(LEAST_PART)
    };
    halves.iter().all(large_enough).then_some(halves)
}

/// The seed with which a half begins: `derive("seed", the seed its whole would have had ‖ cell 3 ‖ "split")`.
pub fn split_seed(whole: &[u8; 32], half: Cell) -> [u8; 32] {
    derive("murmuration/v1/seed", &[whole, &half.to_bytes(), b"split"])
}

#[cfg(test)]
mod tests;
