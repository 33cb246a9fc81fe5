//! Proof that something is not in a sorted tree: the two neighbours between which it would stand, side by side.
//!
//! Generic over the bytes of a leaf; the caller says how they are ordered. SPEC.md §6.

use super::{MAX_PROOF, Tree, leaf_hash, verify};
use crate::wire::Reader;
use core::cmp::Ordering;

/// The place where a leaf of `N` bytes would stand, its neighbours there, and the proof that they stand side by side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gap<const N: usize> {
    /// How many leaves come before it.
    at: u32,
    /// The last one before it and the first one after it, as far as there are such.
    neighbours: Vec<[u8; N]>,
    proof: Vec<[u8; 32]>,
}

impl<const N: usize> Gap<N> {
    /// The gap after the first `at` leaves of a tree whose leaf `i` is `leaf(i)`; `None` beyond its end.
    pub fn of(tree: &Tree, at: usize, leaf: impl Fn(usize) -> Option<[u8; N]>) -> Option<Self> {
        let (start, len) = run(tree.len(), at)?;
        let neighbours = (start..start + len).map(leaf).collect::<Option<_>>()?;
        let proof = if len == 0 {
            Vec::new()
        } else {
            tree.prove(start, len)?
        };
        Some(Self {
            at: u32::try_from(at).ok()?,
            neighbours,
            proof,
        })
    }

    /// Whether it lies in the tree of `count` leaves with this root, and its neighbours on either side of what is missing:
    /// `compare` says where a leaf stands relative to that.
    pub fn verify(
        &self,
        root: &[u8; 32],
        count: u32,
        compare: impl Fn(&[u8; N]) -> Ordering,
    ) -> bool {
        let Some((start, len)) = run(count as usize, self.at as usize) else {
            return false;
        };
        if self.neighbours.len() != len {
            return false;
        }
        if len == 0 {
            return self.proof.is_empty() && *root == super::root(&[]);
        }
        let before = self.at as usize - start;
        let sides = core::iter::repeat_n(Ordering::Less, before).chain([Ordering::Greater]);
        let ordered = self.neighbours.iter().zip(sides);
        let hashes: Vec<_> = self.neighbours.iter().map(|leaf| leaf_hash(leaf)).collect();
        ordered
            .into_iter()
            .all(|(leaf, side)| compare(leaf) == side)
            && verify(root, count as usize, start, &hashes, &self.proof)
    }

    /// Appends `at 4 ‖ neighbours ‖ number of hashes 1 ‖ hashes`. How many neighbours follows from the tree's size.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.at.to_le_bytes());
        for leaf in &self.neighbours {
            out.extend_from_slice(leaf);
        }
        out.push(self.proof.len() as u8);
        for hash in &self.proof {
            out.extend_from_slice(hash);
        }
    }

    /// Reads what [`encode`](Self::encode) wrote, for a tree of `count` leaves.
    pub(crate) fn decode(reader: &mut Reader<'_>, count: u32) -> Option<Self> {
        let at = reader.u32()?;
        let (_, len) = run(count as usize, at as usize)?;
        let neighbours = (0..len).map(|_| reader.array()).collect::<Option<_>>()?;
        let hashes = usize::from(reader.u8()?);
        if hashes > MAX_PROOF {
            return None;
        }
        let proof = (0..hashes).map(|_| reader.array()).collect::<Option<_>>()?;
        Some(Self {
            at,
            neighbours,
            proof,
        })
    }
}

/// The run of neighbours of the gap after `at` of `count` leaves: where it starts and how long it is, 0 to 2.
fn run(count: usize, at: usize) -> Option<(usize, usize)> {
    (at <= count).then(|| {
        let start = at.saturating_sub(1);
        (start, (at + 1).min(count) - start)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    /// A tree over the even numbers below 2n.
    fn evens(n: usize) -> (Tree, impl Fn(usize) -> Option<[u8; 2]>) {
        let leaf = move |i: usize| (i < n).then(|| (2 * i as u16).to_be_bytes());
        let leaves = (0..n).filter_map(leaf).map(|leaf| leaf_hash(&leaf));
        (Tree::new(leaves.collect()), leaf)
    }

    fn absent(gap: &Gap<2>, tree: &Tree, count: usize, number: u16) -> bool {
        gap.verify(&tree.root(), count as u32, |leaf| {
            u16::from_be_bytes(*leaf).cmp(&number)
        })
    }

    #[test]
    fn what_is_there_is_never_absent_and_what_is_missing_always_is() {
        for n in 0..24 {
            let (tree, leaf) = evens(n);
            for number in 0..2 * n as u16 + 3 {
                let proofs = (0..=n).filter_map(|at| Gap::of(&tree, at, &leaf));
                let holding = proofs.filter(|gap| absent(gap, &tree, n, number)).count();
                let there = number % 2 == 0 && usize::from(number) < 2 * n;
                assert_eq!(holding, usize::from(!there), "{number} of {n}");
            }
            assert_eq!(Gap::of(&tree, n + 1, &leaf), None);
        }
    }

    #[test]
    fn a_gap_of_another_count_or_without_neighbours_fails() {
        let (tree, leaf) = evens(9);
        let gap = Gap::of(&tree, 9, &leaf).unwrap();
        assert!(absent(&gap, &tree, 9, 99));
        assert!(!absent(&gap, &tree, 10, 99) && !absent(&gap, &tree, 8, 99));
        let bare = Gap::<2> {
            at: 0,
            neighbours: Vec::new(),
            proof: Vec::new(),
        };
        assert!(!absent(&bare, &tree, 9, 99) && !absent(&bare, &tree, 0, 99));
    }

    proptest! {
        #[test]
        fn bytes_round_trip_and_flips_are_refused(n in 0usize..60, number in 0u16..120, flip in any::<proptest::sample::Index>()) {
            let number = number | 1;
            let (tree, leaf) = evens(n);
            let at = usize::from(number.div_ceil(2)).min(n);
            let gap = Gap::of(&tree, at, &leaf).unwrap();
            prop_assert!(absent(&gap, &tree, n, number));
            let mut bytes = Vec::new();
            gap.encode(&mut bytes);
            prop_assert_eq!(Gap::decode(&mut Reader::new(&bytes), n as u32), Some(gap));
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let mut reader = Reader::new(&bytes);
            if let Some(other) = Gap::<2>::decode(&mut reader, n as u32) {
                prop_assert!(reader.end().is_none() || !absent(&other, &tree, n, number));
            }
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in any::<u32>()) {
            if let Some(gap) = Gap::<2>::decode(&mut Reader::new(&bytes), count) {
                gap.verify(&[0; 32], count, |_| Ordering::Less);
            }
        }
    }
}
