//! Admission: the proof of work in a descriptor, which makes identities cost something. Work alone stops nobody who is rich.
//!
//! The puzzle is EquiX: solving takes memory and a fifth of a second a try, checking a tenth of a millisecond. How many tries, the
//! network's parameters say. Holds the challenge and its term, the check and the search; `pki` says when it is looked at. The
//! puzzle itself is behind feature `pow`; networks that ask for no work don't need it. SPEC.md §24.

use crate::{
    counters::DropReason,
    epoch,
    id::{NodeId, derive},
    network::NetworkParams,
};
use mix::{NetworkId, time::Moment};

/// Bytes of a proof: nonce 16 ‖ solution 16.
pub const PROOF_LEN: usize = 32;
/// Most zero bits that a network may ask for: half an hour of one core, and seconds of a thousand.
pub const MAX_EFFORT: u8 = 12;
/// Whether this build can make and check proofs: networks that ask for them can't be joined without.
pub const AVAILABLE: bool = cfg!(feature = "pow");

/// What a node has to work on: its own, in one network, for one term.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Challenge([u8; 32]);

/// The term of a descriptor valid from `from`: terms are as long as a ban, and those of different nodes end at different times, so
/// that the network doesn't work all at once.
pub fn term(params: &NetworkParams, node: &NodeId, from: Moment) -> u64 {
    let length = u64::from(params.ban_epochs.max(1));
    let hash = derive("murmuration/v1/admission-offset", &[&node.0]);
    let mut offset = [0; 8];
    offset.copy_from_slice(&hash[..8]);
    (u64::from(epoch::epoch_at(params, from)) + u64::from_le_bytes(offset) % length) / length
}

impl Challenge {
    /// Of a node in a term. Whoever has solved it for one network, node or term has solved no other.
    pub fn new(network: &NetworkId, node: &NodeId, term: u64) -> Self {
        Self(derive(
            "murmuration/v1/admission",
            &[&network.0, &node.0, &term.to_le_bytes()],
        ))
    }

    /// Whether a proof has the effort, at the price of one hash: nobody makes us look at a puzzle without some work of their own.
    pub fn has_effort(&self, proof: &[u8], effort: u8) -> bool {
        if proof.len() != PROOF_LEN {
            return false;
        }
        let hash = derive("murmuration/v1/admission-effort", &[&self.0, proof]);
        let mut head = [0; 8];
        head.copy_from_slice(&hash[..8]);
        u64::from_be_bytes(head).leading_zeros() >= u32::from(effort)
    }

    /// Whether a proof solves the puzzle; dear beside everything else about a descriptor.
    ///
    /// # Errors
    /// [`DropReason::Admission`]; always, without feature `pow`.
    pub fn check(&self, proof: &[u8], effort: u8) -> Result<(), DropReason> {
        let solved = self.has_effort(proof, effort) && self.solved_by(proof);
        solved.then_some(()).ok_or(DropReason::Admission)
    }

    #[cfg(feature = "pow")]
    fn solved_by(&self, proof: &[u8]) -> bool {
        let Some((nonce, solution)) = proof.split_first_chunk::<16>() else {
            return false;
        };
        let puzzle = self.puzzle(*nonce);
        (solution.try_into()).is_ok_and(|solution| equix::verify_bytes(&puzzle, solution).is_ok())
    }

    #[cfg(not(feature = "pow"))]
    fn solved_by(&self, _: &[u8]) -> bool {
        false
    }

    #[cfg(feature = "pow")]
    fn puzzle(&self, nonce: [u8; 16]) -> [u8; 48] {
        let mut out = [0; 48];
        out[..32].copy_from_slice(&self.0);
        out[32..].copy_from_slice(&nonce);
        out
    }
}

/// The work: any number of tries, each a fifth of a second of a core and 2 MB. Not for a thread that has anything else to do.
#[cfg(feature = "pow")]
#[derive(Clone, Copy, Debug)]
pub struct Search {
    challenge: Challenge,
    effort: u8,
    nonce: u128,
}

#[cfg(feature = "pow")]
impl Search {
    /// A search that has not begun. `start` spreads it: random is best, for a nonce says which one it was.
    pub fn new(challenge: Challenge, effort: u8, start: u128) -> Self {
        Self {
            challenge,
            effort,
            nonce: start,
        }
    }

    /// One try; there are about 2^effort / 2 to make.
    pub fn step(&mut self) -> Option<[u8; PROOF_LEN]> {
        let nonce = self.nonce.to_le_bytes();
        self.nonce = self.nonce.wrapping_add(1);
        // A few nonces in a hundred make a puzzle that is none.
        let solutions = equix::solve(&self.challenge.puzzle(nonce)).unwrap_or_default();
        let proofs = solutions.into_iter().map(|solution| {
            let mut proof = [0; PROOF_LEN];
            proof[..16].copy_from_slice(&nonce);
            proof[16..].copy_from_slice(&solution.to_bytes());
            proof
        });
        proofs
            .into_iter()
            .find(|proof| self.challenge.has_effort(proof, self.effort))
    }

    /// Tries until it is done.
    pub fn run(mut self) -> [u8; PROOF_LEN] {
        loop {
            if let Some(proof) = self.step() {
                return proof;
            }
        }
    }
}

/// The challenge that a descriptor of these parameters, of this node and from this moment on has to answer; `None` where the network
/// asks for no work.
pub fn asked(
    params: &NetworkParams,
    network: &NetworkId,
    node: &NodeId,
    from: Moment,
) -> Option<Challenge> {
    (params.pow_effort > 0).then(|| Challenge::new(network, node, term(params, node, from)))
}

#[cfg(test)]
mod tests;
