//! What is kept of the certification of one epoch. Everything a stranger can grow in it is bounded by the number of candidates.

use crate::{
    certificate::{Certificate, Proposal, Vote},
    committee::Presence,
    pki::store::Listed,
};
use mix::{ShortId, time::Moment};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Certificates kept of one epoch: a quorum can be chosen from the votes in many ways.
pub(super) const MAX_CERTIFICATES: usize = 4;
/// Lists of the open set kept, one per view in which it changed.
const MAX_LISTS: usize = 4;

/// A certificate that holds, and since when we have it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) certificate: Arc<Certificate>,
    pub(super) hash: [u8; 32],
    pub(super) at: Moment,
}

/// What a failed attempt to build a set depended on: the open set, its lists, the faults, the set before.
pub(super) type Stamp = (u64, usize, u64, bool);

#[derive(Debug, Default)]
pub(super) struct Round {
    /// Verified, one of each proposer, with the root it is for.
    pub(super) proposals: BTreeMap<ShortId, (Proposal, [u8; 32])>,
    /// Verified, one of each witness, and since when.
    pub(super) votes: BTreeMap<ShortId, (Vote, Moment)>,
    /// Caught with two of either: nothing more of theirs is checked.
    pub(super) liars: BTreeSet<ShortId>,
    /// The first is the one that counts here.
    pub(super) certificates: Vec<Held>,
    /// Roots and committees whose certificate was disproved by the set itself.
    pub(super) disproved: BTreeSet<([u8; 32], Presence)>,
    /// The open set as it was when views began, the latest last.
    pub(super) lists: Vec<Listed>,
    /// The first view whose beginning hasn't been listed.
    pub(super) view: u16,
    /// Ours, known to others or about to be.
    pub(super) own_proposal: Option<Proposal>,
    pub(super) own_vote: Option<Vote>,
    /// Proposers whose proposal can't be voted for, whatever may come.
    pub(super) refused: BTreeSet<ShortId>,
    /// Roots that could not be built, and with what.
    pub(super) tried: BTreeMap<[u8; 32], Stamp>,
    /// When to ask for a certificate, and how often that was done.
    pub(super) ask: Option<Moment>,
    pub(super) asked: u32,
    /// Certificates of this epoch that a later header names and that we lack: when they may be asked for again, and how often they were.
    pub(super) wanted: BTreeMap<[u8; 32], (Moment, u32)>,
}

impl Round {
    /// Keeps a list of the open set unless it is the last one.
    pub(super) fn list(&mut self, listed: Listed) {
        if self
            .lists
            .last()
            .is_some_and(|last| last.keys == listed.keys)
        {
            return;
        }
        if self.lists.len() >= MAX_LISTS {
            self.lists.remove(0);
        }
        self.lists.push(listed);
    }

    /// A certificate by its hash.
    pub(super) fn certificate(&self, hash: &[u8; 32]) -> Option<&Held> {
        self.certificates.iter().find(|held| held.hash == *hash)
    }
}
