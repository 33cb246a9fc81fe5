//! Proofs about one node against a header: that it is there, where, and as what; or that it isn't there. SPEC.md §6.

use super::{Directory, Header};
use crate::{
    beat::{LEAF_LEN, Leaf},
    counters::DropReason,
    id::derive,
    merkle::{self, Gap},
    wire::Reader,
};
use mix::{NetworkId, ShortId};

/// Longest [`Inclusion`], in bytes.
pub const MAX_INCLUSION_LEN: usize = 4 + LEAF_LEN + 1 + merkle::MAX_PROOF * 32;

/// Where the order of the leaves puts a node: they are sorted by this.
pub(crate) fn order_key(seed: &[u8; 32], short: &ShortId) -> [u8; 32] {
    derive("murmuration/v1/order", &[seed, &short.0])
}

/// That a leaf stands at an index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inclusion {
    /// Which leaf it is.
    pub index: u32,
    /// The leaf.
    pub leaf: Leaf,
    /// The path to the root.
    pub proof: Vec<[u8; 32]>,
}

impl Inclusion {
    /// Whether the header's tree has this leaf at this index.
    pub fn verify(&self, header: &Header) -> bool {
        let hash = merkle::leaf_hash(&self.leaf.to_bytes());
        merkle::verify(
            &header.tree,
            header.count as usize,
            self.index as usize,
            &[hash],
            &self.proof,
        )
    }

    /// The wire bytes: index 4 ‖ leaf 82 ‖ number of hashes 1 ‖ hashes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.index.to_le_bytes().to_vec();
        out.extend_from_slice(&self.leaf.to_bytes());
        out.push(self.proof.len() as u8);
        self.proof
            .iter()
            .for_each(|hash| out.extend_from_slice(hash));
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
        let index = reader.u32()?;
        let leaf = Leaf::from_bytes(&reader.array()?)?;
        let hashes = usize::from(reader.u8()?);
        if hashes > merkle::MAX_PROOF {
            return None;
        }
        let proof = (0..hashes).map(|_| reader.array()).collect::<Option<_>>()?;
        reader.end()?;
        Some(Self { index, leaf, proof })
    }
}

/// That a node has no leaf.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Absence(Gap<LEAF_LEN>);

impl Absence {
    /// Whether the header's tree lacks the node: its neighbours in the order of the header's seed stand side by side.
    pub fn verify(&self, header: &Header, short: &ShortId) -> bool {
        let missing = order_key(&header.seed, short);
        self.0.verify(&header.tree, header.count, |leaf| {
            let mut id = [0; 16];
            id.copy_from_slice(&leaf[..16]);
            order_key(&header.seed, &ShortId(id)).cmp(&missing)
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>, header: &Header) -> Option<Self> {
        Gap::decode(reader, header.count).map(Self)
    }
}

impl Directory {
    /// Proof that a node is there, and where; `None` if it isn't.
    pub fn prove_inclusion(&self, short: &ShortId) -> Option<Inclusion> {
        let at = self.position_of(short)?;
        Some(Inclusion {
            index: u32::try_from(at).ok()?,
            leaf: self.entry(at)?.leaf(),
            proof: self.prove(at, 1)?,
        })
    }

    /// Proof that a node isn't there; `None` if it is.
    pub fn prove_absence(&self, short: &ShortId) -> Option<Absence> {
        let seed = &self.header.seed;
        let missing = order_key(seed, short);
        let at = self
            .entries
            .partition_point(|entry| order_key(seed, &entry.short()) < missing);
        if self.by_short(short).is_some() {
            return None;
        }
        let leaf = |i: usize| Some(self.entries.get(i)?.leaf().to_bytes());
        Gap::of(&self.tree, at, leaf).map(Absence)
    }

    /// The network whose nodes it lists.
    pub fn network(&self) -> &NetworkId {
        &self.header.params
    }
}
