//! How an epoch gets its certificate: proposals and votes of others, our own, and what follows from them. SPEC.md §11.

use super::{Pki, store::Outcome};
use crate::{
    certificate::{PROPOSAL_LEN, Proposal, VOTE_LEN, Vote},
    counters::DropReason,
};

impl Pki {
    /// A proposal, from gossip or our own past.
    pub(super) fn take_proposal(&mut self, bytes: &[u8; PROPOSAL_LEN]) -> Outcome {
        match Proposal::decode(bytes) {
            Ok(_) => Outcome::Dropped(DropReason::Epoch),
            Err(reason) => Outcome::Dropped(reason),
        }
    }

    /// A vote, from gossip or our own past.
    pub(super) fn take_vote(&mut self, bytes: &[u8; VOTE_LEN]) -> Outcome {
        match Vote::decode(bytes) {
            Ok(_) => Outcome::Dropped(DropReason::Epoch),
            Err(reason) => Outcome::Dropped(reason),
        }
    }
}
