//! The tree over the leaves, and proofs that a contiguous run of leaves belongs to it.
//!
//! The shape is RFC 6962's: a tree of n > 1 leaves splits at the largest power of two below n. The hash is BLAKE3 with a context
//! of its own for leaves, inner nodes and the empty tree. A single inclusion proof is the proof of a run of one; [`Gap`] proves that
//! something is missing. Knows nothing of what a leaf means. SPEC.md §6.

use crate::id::derive;
use core::ops::Range;

mod gap;

pub use gap::Gap;

/// Most hashes in a proof: two per level of a tree of 2³² leaves.
pub const MAX_PROOF: usize = 64;

/// Most leaves of a tree that a proof speaks of.
const MAX_LEAVES: usize = u32::MAX as usize;

/// Hash of one leaf.
pub fn leaf_hash(leaf: &[u8]) -> [u8; 32] {
    derive("murmuration/v1/tree-leaf", &[leaf])
}

/// Root of a tree over leaf hashes, in order.
pub fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => derive("murmuration/v1/tree-empty", &[]),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// A tree kept whole, so that proofs cost no hashing: about 64 B per leaf.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Leaf hashes first, the root last. Node i of level k covers leaves `i × 2^k ..`, as many as there are up to 2^k; one
    /// without a sibling moves up as it is, which gives the same shape as splitting from above.
    levels: Vec<Vec<[u8; 32]>>,
}

impl Tree {
    /// Builds the tree over leaf hashes, in order.
    pub fn new(leaves: Vec<[u8; 32]>) -> Self {
        let mut levels = vec![leaves];
        while let Some(level) = levels.last()
            && level.len() > 1
        {
            let next = level.chunks(2).map(|pair| match pair {
                [left, right] => node_hash(left, right),
                _ => pair[0],
            });
            let next = next.collect();
            levels.push(next);
        }
        Self { levels }
    }

    /// Number of leaves.
    pub fn len(&self) -> usize {
        self.levels[0].len()
    }

    /// Whether it has no leaf.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its root; equal to [`root`] of the leaves.
    pub fn root(&self) -> [u8; 32] {
        self.levels
            .last()
            .and_then(|level| level.first())
            .copied()
            .unwrap_or_else(|| root(&[]))
    }

    /// Proof that leaves `start .. start + len` stand where they stand: the roots of the maximal subtrees outside the run, left
    /// to right. `None` if the run is empty or exceeds the tree.
    pub fn prove(&self, start: usize, len: usize) -> Option<Vec<[u8; 32]>> {
        let end = start.checked_add(len)?;
        if len == 0 || end > self.len() {
            return None;
        }
        let mut out = Vec::new();
        self.collect(0, self.len(), start..end, &mut out);
        Some(out)
    }

    fn collect(&self, offset: usize, len: usize, run: Range<usize>, out: &mut Vec<[u8; 32]>) {
        let last = offset + len;
        if last <= run.start || run.end <= offset {
            let level = len.next_power_of_two().trailing_zeros() as usize;
            out.push(self.levels[level][offset >> level]);
        } else if offset < run.start || run.end < last {
            let left = split(len);
            self.collect(offset, left, run.clone(), out);
            self.collect(offset + left, len - left, run, out);
        }
        // Else it lies wholly inside the run: the verifier computes it.
    }
}

/// Whether `run` stands at `start` in the tree of `count` leaves with this root. Work is bounded by the run and the proof.
pub fn verify(
    tree: &[u8; 32],
    count: usize,
    start: usize,
    run: &[[u8; 32]],
    proof: &[[u8; 32]],
) -> bool {
    let Some(end) = start.checked_add(run.len()) else {
        return false;
    };
    if run.is_empty() || end > count || count > MAX_LEAVES || proof.len() > MAX_PROOF {
        return false;
    }
    let mut walk = Walk {
        start,
        end,
        run,
        proof: proof.iter(),
    };
    walk.subtree(0, count).is_some_and(|root| root == *tree) && walk.proof.next().is_none()
}

fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    derive("murmuration/v1/tree-node", &[left, right])
}

/// The largest power of two below `n`, for n ≥ 2.
fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

struct Walk<'a> {
    start: usize,
    end: usize,
    run: &'a [[u8; 32]],
    proof: core::slice::Iter<'a, [u8; 32]>,
}

impl Walk<'_> {
    /// Root of the subtree over `offset .. offset + len`, taken from the proof or computed from the run.
    fn subtree(&mut self, offset: usize, len: usize) -> Option<[u8; 32]> {
        let last = offset + len;
        if last <= self.start || self.end <= offset {
            return self.proof.next().copied();
        }
        if self.start <= offset && last <= self.end {
            return self
                .run
                .get(offset - self.start..last - self.start)
                .map(root);
        }
        let left_len = split(len);
        let left = self.subtree(offset, left_len)?;
        let right = self.subtree(offset + left_len, len - left_len)?;
        Some(node_hash(&left, &right))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    fn leaves(n: usize) -> Vec<[u8; 32]> {
        (0..n).map(|i| leaf_hash(&i.to_le_bytes())).collect()
    }

    #[test]
    fn every_leaf_of_small_trees_is_proved() {
        for n in 1..40 {
            let leaves = leaves(n);
            let tree = root(&leaves);
            for i in 0..n {
                let proof = Tree::new(leaves.clone()).prove(i, 1).unwrap();
                assert!(verify(&tree, n, i, &leaves[i..=i], &proof));
                assert!(
                    n == 1 || !verify(&tree, n, (i + 1) % n, &leaves[i..=i], &proof),
                    "index is bound, n {n} i {i}"
                );
            }
        }
    }

    #[test]
    fn a_leaf_is_no_inner_node_and_the_empty_tree_is_neither() {
        let two = leaves(2);
        assert_ne!(root(&two), leaf_hash(&[two[0], two[1]].concat()));
        assert_ne!(root(&[]), leaf_hash(&[]));
        assert_eq!(Tree::new(Vec::new()).root(), root(&[]));
        let tree = Tree::new(two.clone());
        assert_eq!(tree.prove(1, 2), None);
        assert_eq!(tree.prove(0, 0), None);
        assert!(!verify(&root(&[]), 0, 0, &[], &[]));
    }

    #[test]
    fn a_huge_claimed_count_costs_little() {
        let one = leaves(1);
        assert!(!verify(
            &one[0],
            usize::MAX / 2,
            5,
            &one,
            &[[0; 32]; MAX_PROOF]
        ));
        assert!(!verify(&one[0], usize::MAX, usize::MAX, &one, &[]));
    }

    proptest! {
        #[test]
        fn runs_are_proved_and_bound(n in 1usize..200, a in 0usize..200, b in 0usize..200, flip in 0usize..1000) {
            let leaves = leaves(n);
            let tree = root(&leaves);
            let start = a % n;
            let len = 1 + b % (n - start);
            let whole = Tree::new(leaves.clone());
            prop_assert_eq!(whole.root(), tree);
            let proof = whole.prove(start, len).unwrap();
            prop_assert!(proof.len() <= MAX_PROOF);
            let run = &leaves[start..start + len];
            prop_assert!(verify(&tree, n, start, run, &proof));
            // Any other leaf, proof hash or length fails.
            let mut wrong = run.to_vec();
            wrong[flip % len][flip % 32] ^= 1;
            prop_assert!(!verify(&tree, n, start, &wrong, &proof));
            if !proof.is_empty() {
                let mut wrong = proof.clone();
                wrong[flip % proof.len()][flip % 32] ^= 1;
                prop_assert!(!verify(&tree, n, start, run, &wrong));
                prop_assert!(!verify(&tree, n, start, run, &proof[1..]));
            }
            let mut longer = proof.clone();
            longer.push([0; 32]);
            prop_assert!(!verify(&tree, n, start, run, &longer));
        }
    }
}
