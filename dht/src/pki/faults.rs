//! Proven faults: kept for as long as they count, one of each culprit and epoch, within caps whoever sends them.
//!
//! What follows from them is in [`crate::bans`], what they are in [`crate::fault`]. Rooms: `items` how neighbours reconcile them,
//! `receipts` the promises that an omission breaks. SPEC.md §11, §19.

use super::{Pki, announce::News, store::Outcome};
use crate::{
    bans::Offence,
    counters::{Counters, DropReason},
    fault::Fault,
    id::short_id,
    network::NetworkParams,
    reconcile::Key,
};
use mix::{NetworkId, ShortId, time::Moment};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

mod items;
mod receipts;

use items::{FaultItems, key};
pub(super) use receipts::Receipts;

/// Proofs kept.
pub(super) const MAX_FAULTS: usize = 1_024;
/// Of one culprit: the latest. More add nothing, for the latest ban ends last, and at most two are of epochs to come.
pub(super) const PER_CULPRIT: usize = 4;
/// Names of useless proofs remembered, so that they aren't asked for again in the same epoch.
const MAX_REFUSED: usize = 1_024;

#[derive(Debug)]
struct Kept {
    bytes: Arc<[u8]>,
    held: Moment,
}

/// All proofs that count.
#[derive(Debug)]
pub(super) struct Faults {
    network: NetworkId,
    ban_epochs: u32,
    current: u32,
    kept: BTreeMap<ShortId, BTreeMap<u32, Kept>>,
    count: usize,
    /// As reconciliation sees them: the row is made anew after a change.
    keys: BTreeMap<Key, Offence>,
    row: Option<Arc<[Key]>>,
    refused: BTreeSet<Key>,
    version: u64,
}

impl Faults {
    pub(super) fn new(params: &NetworkParams) -> Self {
        Self {
            network: params.id(),
            ban_epochs: params.ban_epochs,
            current: 0,
            kept: BTreeMap::new(),
            count: 0,
            keys: BTreeMap::new(),
            row: None,
            refused: BTreeSet::new(),
            version: 0,
        }
    }

    /// A new epoch: what has lost its effect is forgotten.
    pub(super) fn turn(&mut self, current: u32) {
        self.current = current;
        self.refused.clear();
        let over: Vec<_> = (self.keys.values().copied())
            .filter(|offence| !self.counts(offence.epoch))
            .collect();
        for offence in over {
            self.forget(offence);
        }
    }

    /// Takes a proof, cheapest check first. `member` says who is in the last certified directory: when all places are taken,
    /// proofs against strangers go first, then the oldest ones, of equal age those with the highest key.
    pub(super) fn insert(
        &mut self,
        now: Moment,
        bytes: &[u8],
        params: &NetworkParams,
        member: impl Fn(&ShortId) -> bool,
        counters: &mut Counters,
    ) -> Outcome {
        let check = |fault: &Fault| {
            counters.verified += 2;
            fault.verify(params)
        };
        let outcome = match Fault::decode(bytes) {
            Ok(fault) => self.consider(now, bytes, &fault, member, check),
            Err(reason) => Outcome::Dropped(reason),
        };
        counters.faults += u64::from(outcome == Outcome::New);
        outcome
    }

    /// Takes a proof that we made ourselves of records that were checked.
    pub(super) fn insert_own(
        &mut self,
        now: Moment,
        fault: &Fault,
        member: impl Fn(&ShortId) -> bool,
        counters: &mut Counters,
    ) -> Outcome {
        let network = self.network;
        let proved = |fault: &Fault| {
            Ok(Offence {
                culprit: short_id(&network, &fault.culprit()),
                epoch: fault.epoch(),
            })
        };
        let outcome = self.consider(now, &fault.encode(), fault, member, proved);
        counters.faults += u64::from(outcome == Outcome::New);
        outcome
    }

    fn consider(
        &mut self,
        now: Moment,
        bytes: &[u8],
        fault: &Fault,
        member: impl Fn(&ShortId) -> bool,
        check: impl FnOnce(&Fault) -> Result<Offence, DropReason>,
    ) -> Outcome {
        let claimed = Offence {
            culprit: short_id(&self.network, &fault.culprit()),
            epoch: fault.epoch(),
        };
        if let Some(kept) = self.get(&claimed) {
            // Another proof of the same fault tells nothing new, and nobody has checked it.
            return Outcome::known(*kept.bytes == *bytes);
        }
        if !self.counts(claimed.epoch) || claimed.epoch > self.current.saturating_add(1) {
            return Outcome::Dropped(DropReason::Epoch);
        }
        let Ok(victim) = self.place_for(&claimed, member) else {
            return Outcome::Dropped(DropReason::Full);
        };
        match check(fault) {
            Ok(offence) if offence == claimed => {}
            Ok(_) => return Outcome::Dropped(DropReason::Malformed),
            Err(reason) => return Outcome::Dropped(reason),
        }
        if let Some(victim) = victim {
            self.forget(victim);
        }
        let kept = Kept {
            bytes: bytes.into(),
            held: now,
        };
        let epochs = self.kept.entry(claimed.culprit).or_default();
        epochs.insert(claimed.epoch, kept);
        self.keys.insert(key(&claimed), claimed);
        self.row = None;
        self.count += 1;
        self.version += 1;
        Outcome::New
    }

    /// What the bans of an epoch follow from. `held_before`: only those that were held by then.
    pub(super) fn offences(
        &self,
        held_before: Option<Moment>,
    ) -> impl Iterator<Item = Offence> + '_ {
        self.kept.iter().flat_map(move |(culprit, epochs)| {
            let in_time = move |kept: &Kept| held_before.is_none_or(|until| kept.held <= until);
            let held = epochs.iter().filter(move |(_, kept)| in_time(kept));
            held.map(move |(epoch, _)| Offence {
                culprit: *culprit,
                epoch: *epoch,
            })
        })
    }

    /// All proofs, encoded, for a restart.
    pub(super) fn proofs(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        self.kept
            .values()
            .flat_map(BTreeMap::values)
            .map(|kept| &kept.bytes)
    }

    /// How many are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Grows with every proof taken in: the bans may have changed.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The proofs as reconciliation sees them.
    pub(super) fn items(&mut self) -> FaultItems<'_> {
        let row = self
            .row
            .get_or_insert_with(|| self.keys.keys().copied().collect())
            .clone();
        FaultItems::new(self, row)
    }

    /// Remembers that a proof which came is of no use, unless it was kept.
    pub(super) fn refuse_unless_held(&mut self, key: Key) {
        if !self.keys.contains_key(&key) && self.refused.len() < MAX_REFUSED {
            self.refused.insert(key);
        }
    }

    fn get(&self, offence: &Offence) -> Option<&Kept> {
        self.kept.get(&offence.culprit)?.get(&offence.epoch)
    }

    /// Whether a proof against this node is kept.
    fn accuses(&self, short: &ShortId) -> bool {
        self.kept.contains_key(short)
    }

    /// Whether a fault of this epoch still has an effect.
    fn counts(&self, epoch: u32) -> bool {
        epoch.saturating_add(self.ban_epochs) > self.current
    }

    /// Which proof gives way to this one, if any must; an error if this is the one to go.
    fn place_for(
        &self,
        new: &Offence,
        member: impl Fn(&ShortId) -> bool,
    ) -> Result<Option<Offence>, ()> {
        let of_culprit = self.kept.get(&new.culprit);
        if let Some(epochs) = of_culprit.filter(|epochs| epochs.len() >= PER_CULPRIT) {
            let oldest = epochs.keys().next().copied().unwrap_or_default();
            let victim = Offence {
                culprit: new.culprit,
                epoch: oldest,
            };
            return if oldest < new.epoch {
                Ok(Some(victim))
            } else {
                Err(())
            };
        }
        if self.count < MAX_FAULTS {
            return Ok(None);
        }
        // The lower, the sooner it goes: every node that knows the same proofs and members keeps the same ones.
        let rank = |offence: &Offence| {
            let stays = member(&offence.culprit);
            (stays, offence.epoch, core::cmp::Reverse(key(offence)))
        };
        let lowest = self.keys.values().min_by_key(|offence| rank(offence));
        match lowest {
            Some(lowest) if rank(lowest) < rank(new) => Ok(Some(*lowest)),
            _ => Err(()),
        }
    }

    fn forget(&mut self, offence: Offence) {
        if let Some(epochs) = self.kept.get_mut(&offence.culprit) {
            self.count -= usize::from(epochs.remove(&offence.epoch).is_some());
            if epochs.is_empty() {
                self.kept.remove(&offence.culprit);
            }
        }
        self.keys.remove(&key(&offence));
        self.row = None;
    }
}

impl Pki {
    /// A fault proof, from gossip, a neighbour or our own past.
    pub(super) fn take_fault(&mut self, bytes: &[u8]) -> Outcome {
        let member = self.members();
        let outcome =
            (self.faults).insert(self.now, bytes, &self.params, member, &mut self.counters);
        if outcome == Outcome::New {
            self.bans_changed();
        }
        outcome
    }

    /// Two records of one node contradict each other, both checked: keep the proof and tell everybody.
    pub(super) fn accuse(&mut self, fault: &Fault) {
        let member = self.members();
        match (self.faults).insert_own(self.now, fault, member, &mut self.counters) {
            Outcome::New => {
                self.bans_changed();
                let news = News::Fault(fault.encode().into());
                self.announce.relay(self.now, news);
            }
            Outcome::Dropped(reason) => self.counters.drop(reason),
            _ => {}
        }
    }

    /// Who is in the last certified directory; everybody, while there is none.
    fn members(&self) -> impl Fn(&ShortId) -> bool + use<> {
        let certified = self.last_certified();
        move |short| {
            (certified.as_ref()).is_none_or(|directory| directory.by_short(short).is_some())
        }
    }

    /// Proofs that the store came upon: two beats of one node and epoch.
    pub(super) fn accuse_equivocators(&mut self) {
        for fault in self.store.take_equivocations() {
            self.accuse(&fault);
        }
    }
}

#[cfg(test)]
mod tests;
