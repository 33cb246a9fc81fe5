//! The proof that a node belongs to a cell, for nodes of other cells: half a kilobyte beside a header that its cell's certificate
//! vouches for, which is fetched once per cell and epoch.

use super::{
    Cell, Directory, Header, LEAF_LEN, Leaf, NetworkParams, NodeId, Position, merkle, short_id,
};
use crate::wire::Reader;
use mix::ShortId;

/// Most hashes in a proof of one leaf: the depth of a tree of 2³² leaves.
const MAX_HASHES: usize = 32;
const FIXED_LEN: usize = 1 + Cell::LEN + 4 + 4 + 32 + LEAF_LEN + 1;
/// Longest encoding of a membership.
pub const MAX_MEMBERSHIP_LEN: usize = FIXED_LEN + 32 * MAX_HASHES;

const VERSION: u8 = 1;

/// A node's leaf in the directory of its cell, with its place and proof.
///
/// On the wire: version 1 ‖ cell 3 ‖ epoch 4 ‖ index 4 ‖ node id 32 ‖ leaf 82 ‖ count 1 ‖ hashes of 32 B.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    pub(super) cell: Cell,
    pub(super) epoch: u32,
    pub(super) index: u32,
    pub(super) node: NodeId,
    pub(super) leaf: Leaf,
    pub(super) proof: Vec<[u8; 32]>,
}

/// A node that a membership has shown to be in its cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Identity.
    pub node: NodeId,
    /// Coordinate.
    pub position: Position,
    /// Its leaf: name, key, capability.
    pub leaf: Leaf,
}

/// Why a membership shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// The header is not the one that was certified.
    #[error("the header is not the certified one")]
    Uncertified,
    /// It is of another network, cell or epoch than the header.
    #[error("the proof belongs to another directory")]
    OtherDirectory,
    /// The node's name does not follow from its key.
    #[error("the leaf is not of this node")]
    OtherNode,
    /// The node's position lies elsewhere.
    #[error("the node's position lies outside the cell")]
    OutsideCell,
    /// The leaf does not stand there in the tree.
    #[error("the leaf is not in the directory")]
    NotIncluded,
}

impl Membership {
    /// The proof for the node with this short id.
    pub fn prove(directory: &Directory, short: &ShortId) -> Option<Self> {
        let at = directory.position_of(short)?;
        let entry = directory.entry(at)?;
        Some(Self {
            cell: directory.header().cell,
            epoch: directory.epoch(),
            index: u32::try_from(at).ok()?,
            node: entry.node(),
            leaf: entry.leaf(),
            proof: directory.prove(at, 1)?,
        })
    }

    /// The cell it speaks of: whose certificate is needed.
    pub fn cell(&self) -> Cell {
        self.cell
    }

    /// The epoch it speaks of.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What it shows, against the header of that cell and epoch whose root the cell's committee certified.
    ///
    /// It shows that the node is in the cell's directory, not that no other node is nearer to a box: leaves are not ordered by
    /// position. Who needs that reads the cell's pages.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub fn verify(
        &self,
        params: &NetworkParams,
        header: &Header,
        certified_root: &[u8; 32],
    ) -> Result<Member, MembershipError> {
        let network = params.id();
        if header.root() != *certified_root {
            return Err(MembershipError::Uncertified);
        }
        if header.params != network || header.cell != self.cell || header.epoch != self.epoch {
            return Err(MembershipError::OtherDirectory);
        }
        if short_id(&network, &self.node) != self.leaf.short {
            return Err(MembershipError::OtherNode);
        }
        let position = Position::of_node(&params.genesis_seed(), &self.node);
        if !self.cell.contains(&position) {
            return Err(MembershipError::OutsideCell);
        }
        let leaf = merkle::leaf_hash(&self.leaf.to_bytes());
        let (count, index) = (header.count as usize, self.index as usize);
        if !merkle::verify(&header.tree, count, index, &[leaf], &self.proof) {
            return Err(MembershipError::NotIncluded);
        }
        Ok(Member {
            node: self.node,
            position,
            leaf: self.leaf,
        })
    }

    /// The wire bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED_LEN + 32 * self.proof.len());
        out.push(VERSION);
        out.extend_from_slice(&self.cell.to_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.index.to_le_bytes());
        out.extend_from_slice(&self.node.0);
        out.extend_from_slice(&self.leaf.to_bytes());
        out.push(self.proof.len() as u8);
        for hash in &self.proof {
            out.extend_from_slice(hash);
        }
        out
    }

    /// Reads the wire bytes; `None` unless canonical.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        (reader.u8()? == VERSION).then_some(())?;
        let cell = Cell::from_bytes(reader.array()?)?;
        let (epoch, index) = (reader.u32()?, reader.u32()?);
        let node = NodeId(reader.array()?);
        let leaf = Leaf::from_bytes(&reader.array()?)?;
        let count = usize::from(reader.u8()?);
        if count > MAX_HASHES {
            return None;
        }
        let proof: Option<Vec<_>> = (0..count).map(|_| reader.array()).collect();
        reader.end()?;
        Some(Self {
            cell,
            epoch,
            index,
            node,
            leaf,
            proof: proof?,
        })
    }
}
