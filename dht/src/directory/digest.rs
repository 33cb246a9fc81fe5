//! The digest of an epoch: its leaves without the records behind them, for nodes that relay for nobody. SPEC.md §26.
//!
//! Exact or nothing: whoever holds the header knows from the leaves who is there, with which key and weight. Not in which subnet, nor
//! where on the ring: these stand in the records.

use super::{Header, Totals, lowest_rate, order_key};
use crate::{
    beat::Leaf,
    merkle,
    network::NetworkParams,
    page::{Entries, Page, page_count},
};
use mix::{Hop, MixPublic, ShortId};
use std::collections::BTreeMap;

/// The leaves of one epoch, as a trusted header commits to them.
#[derive(Clone, Debug)]
pub struct Digest {
    header: Header,
    root: [u8; 32],
    leaves: Vec<Leaf>,
    by_short: BTreeMap<ShortId, usize>,
    totals: Totals,
}

/// The leaf pages of one header on their way in, in any order.
#[derive(Clone, Debug)]
pub struct DigestReader {
    header: Header,
    pages: BTreeMap<u32, Vec<Leaf>>,
}

impl DigestReader {
    /// Reads the leaves of a header that is trusted already; `None` if it counts more nodes than the reader wants to hold.
    pub fn new(header: &Header, most: usize) -> Option<Self> {
        (header.count as usize <= most).then(|| Self {
            header: *header,
            pages: BTreeMap::new(),
        })
    }

    /// Takes a page; `false` unless it is one of this header's leaves.
    pub fn take(&mut self, page: &Page) -> bool {
        match &page.entries {
            Entries::Leaves(leaves) if page.verify(&self.header) => {
                self.pages.insert(page.index, leaves.clone());
                true
            }
            _ => false,
        }
    }

    /// The pages that are missing. Ask for all of them, in random order.
    pub fn missing(&self) -> impl Iterator<Item = u32> {
        (0..page_count(self.header.count)).filter(|index| !self.pages.contains_key(index))
    }

    /// The digest, once nothing is missing; `None` before.
    pub fn finish(self, params: &NetworkParams) -> Option<Digest> {
        if self.missing().next().is_some() {
            return None;
        }
        let leaves = self.pages.into_values().flatten().collect();
        Digest::new(params, &self.header, leaves)
    }
}

impl Digest {
    /// The digest of a trusted header from all its leaves in order; `None` unless they are exactly those.
    pub fn new(params: &NetworkParams, header: &Header, leaves: Vec<Leaf>) -> Option<Self> {
        let hashes = leaves
            .iter()
            .map(|leaf| merkle::leaf_hash(&leaf.to_bytes()));
        let tree = merkle::root(&hashes.collect::<Vec<_>>());
        let orders: Vec<_> = (leaves.iter())
            .map(|leaf| order_key(&header.seed, &leaf.short))
            .collect();
        // What is certified is in order; a header trusted for other reasons may not be.
        let ordered = orders.windows(2).all(|pair| pair[0] < pair[1]);
        if tree != header.tree || leaves.len() != header.count as usize || !ordered {
            return None;
        }
        let weights = leaves.iter().map(|leaf| leaf.standing.capability);
        let totals = Totals {
            mixes: weights.clone().filter(|c| c.weight() > 0).count() as u32,
            weight: weights.clone().map(|c| u64::from(c.weight())).sum(),
            rate_mhz: weights.map(|c| lowest_rate(params, c)).sum(),
        };
        let numbered = leaves.iter().zip(0..);
        Some(Self {
            header: *header,
            root: header.root(),
            by_short: numbered.map(|(leaf, at)| (leaf.short, at)).collect(),
            leaves,
            totals,
        })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What nodes compare, 32 B.
    pub fn root(&self) -> [u8; 32] {
        self.root
    }

    /// The public totals.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// All leaves in their order.
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// The leaf of a node.
    pub fn by_short(&self, short: &ShortId) -> Option<&Leaf> {
        self.leaves.get(*self.by_short.get(short)?)
    }

    /// A node as the hop of a packet; `None` if it isn't there, or its key is no key.
    pub fn hop_of(&self, short: &ShortId) -> Option<Hop> {
        let leaf = self.by_short(short)?;
        Some(Hop {
            id: leaf.short,
            key: MixPublic::from_bytes(&leaf.mix_key)?,
            epoch: self.header.epoch,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::{
        directory::Directory,
        page::PageKind,
        testing::{Past, params},
    };
    use mix::route::Topology;

    fn page(directory: &Directory, kind: PageKind, index: u32) -> Page {
        let page = Page::of(directory, kind, index).unwrap();
        Page::decode(&page.encode()).unwrap()
    }

    #[test]
    fn leaves_tell_what_the_directory_tells() {
        let past = Past::new(&params(), 60, 2);
        let directory = &past.directories[1];
        let mut reader = DigestReader::new(directory.header(), 60).unwrap();
        for index in [2, 0, 1] {
            assert!(reader.clone().finish(&params()).is_none());
            assert!(reader.missing().any(|missing| missing == index));
            assert!(reader.take(&page(directory, PageKind::Leaves, index)));
        }
        let digest = reader.finish(&params()).unwrap();
        assert_eq!(digest.root(), directory.root());
        assert_eq!(digest.totals(), directory.totals());
        for (leaf, entry) in digest.leaves().iter().zip(directory.nodes()) {
            assert_eq!(*leaf, entry.leaf());
            assert_eq!(digest.hop_of(&leaf.short), directory.hop_of(&leaf.short));
            assert_eq!(digest.by_short(&leaf.short), Some(leaf));
        }
        assert!(digest.hop_of(&ShortId([0; 16])).is_none());
    }

    #[test]
    fn what_the_header_does_not_commit_to_is_no_digest() {
        let past = Past::new(&params(), 30, 2);
        let (other, directory) = (&past.directories[0], &past.directories[1]);
        let header = directory.header();
        let mut reader = DigestReader::new(header, 30).unwrap();
        assert!(
            DigestReader::new(header, 29).is_none(),
            "more than it may hold"
        );
        assert!(!reader.take(&page(other, PageKind::Leaves, 0)));
        assert!(!reader.take(&page(directory, PageKind::Records, 0)));
        let mut forged = page(directory, PageKind::Leaves, 0);
        if let Entries::Leaves(leaves) = &mut forged.entries {
            leaves[3].mix_key[0] ^= 1;
        }
        assert!(!reader.take(&forged));
        assert_eq!(reader.missing().count(), 2);

        let leaves: Vec<_> = directory.nodes().map(|entry| entry.leaf()).collect();
        assert!(Digest::new(&params(), header, leaves.clone()).is_some());
        for change in 0..3 {
            let mut wrong = leaves.clone();
            match change {
                0 => wrong.swap(4, 5),
                1 => _ = wrong.pop(),
                _ => wrong[7].standing.age ^= 1,
            }
            assert!(Digest::new(&params(), header, wrong).is_none(), "{change}");
        }
        // In a tree of its own, but out of order.
        let mut turned = leaves;
        turned.reverse();
        let hashes = turned
            .iter()
            .map(|leaf| merkle::leaf_hash(&leaf.to_bytes()));
        let tree = merkle::root(&hashes.collect::<Vec<_>>());
        let header = Header { tree, ..*header };
        assert!(Digest::new(&params(), &header, turned).is_none());
    }
}
