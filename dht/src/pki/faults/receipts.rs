//! Receipts: what witnesses promise us about our beat, and what we, as a witness, promise others. SPEC.md §19, §21.
//!
//! After publishing its beat a node asks up to three candidates of the epoch that it is connected to. If a certified set lacks the
//! beat all the same, a receipt and that witness's vote are the proof of an omission.

use crate::{
    bundle::{self, Record},
    counters::{DropReason, Verdict},
    directory::Directory,
    epoch,
    fault::{Fault, Omission, Receipt, SignedVote},
    id::{NodeId, short_id},
    pki::{Pki, store::pair, sync::Topic},
};
use rand_core::Rng;
use std::collections::BTreeMap;

/// Receipts wanted of one epoch.
pub(super) const WANTED: usize = 3;

/// The receipts for our beats, by epoch.
#[derive(Debug, Default)]
pub(in crate::pki) struct Receipts {
    epochs: BTreeMap<u32, Asking>,
}

#[derive(Debug, Default)]
struct Asking {
    /// Candidates not asked yet, in random order; the last is next.
    left: Vec<NodeId>,
    got: Vec<(NodeId, Receipt)>,
}

impl Receipts {
    pub(in crate::pki) fn turn(&mut self, current: u32) {
        self.epochs.retain(|epoch, _| *epoch >= current);
    }

    /// The receipts held for our beat of an epoch.
    pub(super) fn of(&self, epoch: u32) -> &[(NodeId, Receipt)] {
        let asking = self.epochs.get(&epoch);
        asking.map_or(&[], |asking| asking.got.as_slice())
    }
}

impl Pki {
    /// Our beat of an epoch is out: candidates are asked for receipts.
    pub(in crate::pki) fn want_receipts(&mut self, epoch: u32) {
        if self.receipts.epochs.contains_key(&epoch) {
            return;
        }
        let mut left: Vec<_> = (self.candidates_of(epoch).iter())
            .map(|candidate| candidate.node)
            .filter(|node| *node != self.own)
            .collect();
        // A random order, so that no witness is everybody's first.
        for i in (1..left.len()).rev() {
            let j = self.rng.next_u64() % (i as u64 + 1);
            left.swap(i, j as usize);
        }
        let got = Vec::new();
        self.receipts.epochs.insert(epoch, Asking { left, got });
        self.ask_for_receipt(epoch);
    }

    /// Asks the next candidate, as long as receipts are wanted and oblige. One that isn't connected costs nothing.
    pub(in crate::pki) fn ask_for_receipt(&mut self, epoch: u32) {
        let in_time = self.now <= epoch::guard(&self.params, epoch);
        let Some(asking) = self.receipts.epochs.get_mut(&epoch).filter(|_| in_time) else {
            return;
        };
        if asking.got.len() < WANTED
            && let Some(next) = asking.left.pop()
        {
            self.sync
                .plan(self.now, Topic::Receipt { epoch }, Some(next));
        }
    }

    /// What to ask for a receipt with: our two records; `None` if it is too late.
    pub(in crate::pki) fn receipt_request(&self, epoch: u32) -> Option<Vec<u8>> {
        let descriptor = self.store.descriptor(&self.own_short)?;
        let beat = self.own_beat(epoch)?;
        if self.now > epoch::guard(&self.params, epoch) {
            return None;
        }
        let mut item = Vec::new();
        bundle::put(&mut item, Record::Descriptor(descriptor.as_bytes()));
        bundle::put(&mut item, Record::Beat(beat.as_bytes()));
        Some(item)
    }

    /// An answer: a receipt, or nothing from who can't give one. A wrong one is its sender's fault.
    pub(in crate::pki) fn take_receipt(
        &mut self,
        epoch: u32,
        from: NodeId,
        bytes: &[u8],
    ) -> Result<Verdict, DropReason> {
        if bytes.is_empty() {
            return Ok(Verdict::Ignore);
        }
        let receipt = Receipt::decode(bytes)?;
        let ours = (self.own_beat(epoch)).is_some_and(|beat| beat.hash() == receipt.beat);
        if receipt.epoch != epoch || receipt.owner != self.own_short || !ours {
            return Err(DropReason::Unwanted);
        }
        self.counters.verified += 1;
        receipt.verify(&self.network, &from)?;
        if !receipt.good(&self.params) {
            return Ok(Verdict::Ignore);
        }
        let Some(asking) = self.receipts.epochs.get_mut(&epoch) else {
            return Ok(Verdict::Ignore);
        };
        let new = asking.got.iter().all(|(witness, _)| *witness != from);
        if new && asking.got.len() < WANTED {
            asking.got.push((from, receipt));
            self.counters.receipts += 1;
        }
        Ok(Verdict::Accept)
    }

    /// A receipt for the beat of who asks, if we are to witness its epoch, will insist on it and it still obliges us; else an
    /// empty answer. Its records are taken as gossip is.
    pub(in crate::pki) fn give_receipt(
        &mut self,
        epoch: u32,
        from: &NodeId,
        body: &[u8],
    ) -> Result<Vec<u8>, DropReason> {
        let (descriptor, bytes) = pair(body).ok_or(DropReason::Malformed)?;
        let owner = short_id(&self.network, from);
        if crate::beat::Beat::peek(bytes) != Some((epoch, owner)) {
            return Err(DropReason::Malformed);
        }
        let taken = self.take(&[Record::Descriptor(descriptor), Record::Beat(bytes)]);
        if taken.forged {
            return Err(self.forgery_of(from));
        }
        self.pass_on(taken.new);
        if !self.insists_on(epoch, &owner, bytes) {
            return Ok(Vec::new());
        }
        let (Some(beat), Some(key)) = (self.store.beat(epoch, &owner), self.witness_key()) else {
            return Ok(Vec::new());
        };
        let receipt = Receipt::sign(&self.network, key, beat, self.now);
        self.counters.receipts_given += 1;
        Ok(receipt.to_bytes().to_vec())
    }

    /// Whether we will vote for no set of this epoch that lacks this beat. Who has no beat of the epoch itself won't vote, and who
    /// has lied is left out.
    fn insists_on(&mut self, epoch: u32, owner: &mix::ShortId, beat: &[u8]) -> bool {
        let witness = self
            .candidates_of(epoch)
            .by_short(&self.own_short)
            .is_some();
        let held = self.store.beat(epoch, owner);
        let (from, until) = (
            epoch::start_of(&self.params, epoch),
            epoch::end_of(&self.params, epoch),
        );
        let covered = self.store.descriptor(owner);
        witness
            && self.now <= epoch::guard(&self.params, epoch)
            && self.own_beat(epoch).is_some()
            && held.is_some_and(|held| held.says(beat))
            && covered.is_some_and(|descriptor| descriptor.covers(from, until))
            && !self.faults.accuses(owner)
    }

    /// A certified set is known, and who voted for it. If it lacks our beat, witnesses that gave us a receipt for it have lied.
    pub(in crate::pki) fn check_omission(
        &mut self,
        directory: &Directory,
        votes: &[(NodeId, SignedVote)],
    ) {
        let mut broken = Vec::new();
        for (witness, receipt) in self.receipts.of(directory.epoch()) {
            let vote = votes.iter().find(|(node, _)| node == witness);
            let omission = vote.and_then(|(_, vote)| {
                // None if we are in the set, or banned.
                Omission::of(*witness, receipt, directory, vote)
            });
            broken.extend(omission.map(Box::new).map(Fault::Omission));
        }
        for fault in broken {
            self.counters.omissions += 1;
            self.accuse(&fault);
        }
    }
}
