//! The records: who is known, which beats each kept epoch has, which wait for their descriptor.
//!
//! Holds [`Store`], the only place where records are checked and believed. Every map a stranger can grow is capped here. Knows
//! nothing of gossip or lookups. SPEC.md §11.

use super::Caps;
use crate::{
    admission::{self, Challenge},
    bans::Offence,
    beat::{BEAT_LEN, Beat},
    checks::Memo,
    counters::{Counters, DropReason},
    descriptor::Descriptor,
    directory::Directory,
    epoch,
    fault::Fault,
    id::short_id,
    network::NetworkParams,
};
use mix::{
    NetworkId, ShortId,
    time::{Moment, Span},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

mod items;
mod parked;
mod past;

use items::Items;
pub(super) use items::{Pair, key_of_item, key_of_pair, pair};
use parked::Parked;
use past::Past;
pub(super) use past::{Certified, Listed};

/// Proofs of equivocation that wait to be taken: a batch of records makes no more.
const MAX_EQUIVOCATIONS: usize = 256;

/// What became of one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    New,
    /// Byte for byte a record that was checked.
    Seen,
    /// Says what a record says that was checked or waits, under a signature that nobody has checked.
    Unchecked,
    /// Kept unchecked until its descriptor arrives; of this epoch.
    Parked(u32),
    Dropped(DropReason),
}

impl Outcome {
    pub(super) fn known(exactly: bool) -> Self {
        if exactly { Self::Seen } else { Self::Unchecked }
    }
}

#[derive(Debug)]
pub(super) struct Store {
    params: Arc<NetworkParams>,
    network: NetworkId,
    own: ShortId,
    caps: Caps,
    memo: Memo,
    current: u32,
    known: BTreeMap<ShortId, Known>,
    /// Known nodes without a beat in any kept epoch, longest unheard first.
    idle: BTreeSet<(u64, ShortId)>,
    /// Grows with each record taken in: the order in which nodes were heard.
    clock: u64,
    epochs: BTreeMap<u32, EpochSet>,
    parked: Parked,
    /// Beats that left `parked` valid: gossip could not forward them when they came.
    resolved: Vec<Arc<Beat>>,
    past: Past,
    /// Faults that count, for the bans of sets that aren't certified.
    offences: Vec<Offence>,
    /// Proofs made of two beats of one node and epoch, until they are taken.
    equivocations: Vec<Fault>,
    changed: bool,
}

#[derive(Debug)]
struct Known {
    descriptor: Arc<Descriptor>,
    /// Kept epochs in which it has a beat.
    beats: u8,
    heard: u64,
    /// Changes taken in the epoch named.
    changes: (u32, u8),
}

#[derive(Debug, Default)]
struct EpochSet {
    beats: BTreeMap<ShortId, Arc<Beat>>,
    /// When each of them was first held.
    held: BTreeMap<ShortId, Moment>,
    /// Ids seen with two different beats; no further signature of theirs is checked in this epoch.
    equivocators: BTreeSet<ShortId>,
    directory: Option<Arc<Directory>>,
    /// The same as reconciliation sees it.
    items: Items,
    /// Counts the changes; `built` is the one the directory was made at.
    version: u64,
    built: u64,
}

impl Store {
    pub(super) fn new(
        params: Arc<NetworkParams>,
        network: NetworkId,
        own: ShortId,
        caps: Caps,
    ) -> Self {
        Self {
            past: Past::new(params.genesis_seed()),
            offences: Vec::new(),
            params,
            network,
            own,
            caps,
            memo: Memo::default(),
            current: 0,
            known: BTreeMap::new(),
            idle: BTreeSet::new(),
            clock: 0,
            epochs: BTreeMap::new(),
            parked: Parked::new(caps.parked),
            resolved: Vec::new(),
            equivocations: Vec::new(),
            changed: false,
        }
    }

    pub(super) fn share(&mut self, memo: Memo) {
        self.memo = memo;
    }

    /// What checks signatures.
    pub(super) fn memo(&self) -> &Memo {
        &self.memo
    }

    pub(super) fn caps(&self) -> &Caps {
        &self.caps
    }

    pub(super) fn seed(&self, epoch: u32) -> [u8; 32] {
        self.past.seed(epoch)
    }

    /// The faults that count have changed.
    pub(super) fn set_offences(&mut self, offences: Vec<Offence>) {
        if self.offences != offences {
            self.offences = offences;
            self.rebuild(self.current);
        }
    }

    /// Keeps the previous, the current and the next epoch. The outgoing set is built now: once over, it doesn't change.
    pub(super) fn turn(&mut self, current: u32) {
        self.current = current;
        if let Some(previous) = current.checked_sub(1) {
            self.directory(previous);
        }
        let gone: Vec<_> = self
            .epochs
            .keys()
            .copied()
            .filter(|e| !self.keeps(*e))
            .collect();
        for epoch in gone {
            let Some(set) = self.epochs.remove(&epoch) else {
                continue;
            };
            for short in set.beats.keys() {
                self.release(short);
            }
        }
        self.parked
            .keep(|epoch| epoch >= current && epoch <= current.saturating_add(1));
        self.turn_past();
        self.forget_expired();
        self.changed = true;
    }

    pub(super) fn insert_descriptor(
        &mut self,
        now: Moment,
        bytes: &[u8],
        counters: &mut Counters,
    ) -> Outcome {
        let descriptor = match Descriptor::decode(bytes) {
            Ok(descriptor) => descriptor,
            Err(reason) => return Outcome::Dropped(reason),
        };
        let short = short_id(&self.network, &descriptor.id());
        let outcome = self.weigh(now, &short, &descriptor);
        if outcome != Outcome::New {
            return outcome;
        }
        // Cheapest first: one hash shows the effort, the puzzle behind it takes longer than the signature.
        if !self.shows_effort(&descriptor) {
            return Outcome::Dropped(DropReason::Admission);
        }
        counters.verified += 1;
        let descriptor = match self.memo.descriptor(&self.network, descriptor) {
            Ok(descriptor) => descriptor,
            Err(reason) => return Outcome::Dropped(reason),
        };
        if let Err(reason) = self.admits(&descriptor) {
            return Outcome::Dropped(reason);
        }
        let outcome = self.keep(short, descriptor);
        if outcome == Outcome::New {
            counters.descriptors += 1;
            self.resolve(now, &short, counters);
        }
        outcome
    }

    fn challenge(&self, descriptor: &Descriptor) -> Option<Challenge> {
        let from = Moment::from_millis(descriptor.fields().valid_from);
        admission::asked(&self.params, &self.network, &descriptor.id(), from)
    }

    fn shows_effort(&self, descriptor: &Descriptor) -> bool {
        let (proof, effort) = (&descriptor.fields().admission, self.params.pow_effort);
        self.challenge(descriptor)
            .is_none_or(|challenge| challenge.has_effort(proof, effort))
    }

    /// Whether a descriptor has the work that the network asks for. That of its term was checked if the same proof is held already.
    pub(super) fn admits(&self, descriptor: &Descriptor) -> Result<(), DropReason> {
        let Some(challenge) = self.challenge(descriptor) else {
            return Ok(());
        };
        let proof = &descriptor.fields().admission;
        let held = self.known.get(&short_id(&self.network, &descriptor.id()));
        let checked = held.is_some_and(|known| {
            known.descriptor.fields().admission == *proof
                && self.challenge(&known.descriptor) == Some(challenge)
        });
        if checked {
            return Ok(());
        }
        challenge.check(proof, self.params.pow_effort)
    }

    /// Our own, verified by the caller; not limited by churn.
    pub(super) fn insert_own_descriptor(
        &mut self,
        now: Moment,
        descriptor: Descriptor,
        counters: &mut Counters,
    ) -> Outcome {
        let own = self.own;
        match self.weigh(now, &own, &descriptor) {
            Outcome::New | Outcome::Dropped(DropReason::Churn) => {
                let outcome = self.keep(own, Arc::new(descriptor));
                // A beat of ours from before a lost state may have come back to us.
                self.resolve(now, &own, counters);
                outcome
            }
            outcome => outcome,
        }
    }

    pub(super) fn insert_beat(
        &mut self,
        now: Moment,
        bytes: &[u8; BEAT_LEN],
        counters: &mut Counters,
    ) -> Outcome {
        let Some((epoch, short)) = Beat::peek(bytes) else {
            return Outcome::Dropped(DropReason::Version);
        };
        if let Some(set) = self.epochs.get(&epoch) {
            if let Some(held) = set.beats.get(&short).filter(|held| held.says(bytes)) {
                return Outcome::known(held.as_bytes() == bytes);
            }
            if set.equivocators.contains(&short) {
                return Outcome::Dropped(DropReason::Equivocation);
            }
        }
        if !self.open(now, epoch) {
            return Outcome::Dropped(DropReason::Epoch);
        }
        let Some(known) = self.known.get(&short) else {
            return if self.parked.push(epoch, short, *bytes) {
                Outcome::Parked(epoch)
            } else {
                Outcome::Unchecked
            };
        };
        counters.verified += 1;
        match (self.memo).beat(&self.network, &known.descriptor.id(), bytes) {
            Ok(beat) => self.admit(now, beat, counters),
            Err(reason) => Outcome::Dropped(reason),
        }
    }

    /// The set of a kept epoch: the certified one, else all that is known, built if it changed since.
    pub(super) fn directory(&mut self, epoch: u32) -> Option<Arc<Directory>> {
        if let Some(certified) = self.past.certified(epoch).filter(|_| self.keeps(epoch)) {
            return Some(certified.directory.clone());
        }
        let set = self.epochs.get(&epoch)?;
        if set.built != set.version || set.directory.is_none() {
            // No certificate before is named: which one a proposer chooses must make no difference to sets that aren't certified.
            let basis = self.basis(epoch, self.offences.iter().copied(), None);
            let listed = self.listed(epoch);
            let directory = self.build(epoch, &listed, &basis);
            let set = self.epochs.get_mut(&epoch)?;
            set.directory = Some(directory);
            set.built = set.version;
        }
        let set = self.epochs.get(&epoch)?;
        set.directory
            .clone()
            .filter(|directory| !directory.is_empty())
    }

    pub(super) fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    /// Grows with every change of an epoch's set; zero while it has none.
    pub(super) fn version(&self, epoch: u32) -> u64 {
        self.epochs.get(&epoch).map_or(0, |set| set.version)
    }

    pub(super) fn beats(&self, epoch: u32) -> usize {
        self.epochs.get(&epoch).map_or(0, |set| set.beats.len())
    }

    pub(super) fn beat(&self, epoch: u32, short: &ShortId) -> Option<&Arc<Beat>> {
        self.epochs.get(&epoch)?.beats.get(short)
    }

    pub(super) fn descriptor(&self, short: &ShortId) -> Option<&Arc<Descriptor>> {
        self.known.get(short).map(|known| &known.descriptor)
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = (&ShortId, &Arc<Descriptor>)> {
        self.known
            .iter()
            .map(|(short, known)| (short, &known.descriptor))
    }

    /// Beats of the current and the next epoch.
    pub(super) fn live_beats(&self) -> impl Iterator<Item = &Arc<Beat>> {
        self.epochs
            .range(self.current..)
            .flat_map(|(_, set)| set.beats.values())
    }

    pub(super) fn has_parked(&self, epoch: u32) -> bool {
        self.parked.has(epoch)
    }

    pub(super) fn take_resolved(&mut self) -> Vec<Arc<Beat>> {
        core::mem::take(&mut self.resolved)
    }

    /// Proofs made of beats that contradict each other.
    pub(super) fn take_equivocations(&mut self) -> Vec<Fault> {
        core::mem::take(&mut self.equivocations)
    }

    /// Whether beats of an epoch are taken: from the opening of its window (clocks differ) until it is over.
    fn open(&self, now: Moment, epoch: u32) -> bool {
        let tolerance = Span::from_millis(self.params.clock_tolerance_ms);
        let from = epoch::beat_window(&self.params, epoch).from;
        epoch >= self.current && epoch <= self.current.saturating_add(1) && now + tolerance >= from
    }

    fn keeps(&self, epoch: u32) -> bool {
        epoch.saturating_add(1) >= self.current && epoch <= self.current.saturating_add(1)
    }

    /// Everything about a descriptor that costs no signature check.
    fn weigh(&self, now: Moment, short: &ShortId, descriptor: &Descriptor) -> Outcome {
        if let Some(known) = self.known.get(short) {
            let held = &known.descriptor;
            if held.body() == descriptor.body() {
                return Outcome::known(held.as_bytes() == descriptor.as_bytes());
            }
            if !descriptor.replaces(held) {
                return Outcome::Dropped(DropReason::Outdated);
            }
            if known.changes.0 == self.current && known.changes.1 >= self.caps.changes_per_epoch {
                return Outcome::Dropped(DropReason::Churn);
            }
        }
        let tolerance = Span::from_millis(self.params.clock_tolerance_ms);
        if !descriptor.covers(now - tolerance, now + tolerance) {
            return Outcome::Dropped(DropReason::Validity);
        }
        Outcome::New
    }

    fn keep(&mut self, short: ShortId, descriptor: Arc<Descriptor>) -> Outcome {
        self.clock += 1;
        let heard = self.clock;
        if let Some(known) = self.known.get_mut(&short) {
            let made = if known.changes.0 == self.current {
                known.changes.1
            } else {
                0
            };
            known.changes = (self.current, made.saturating_add(1));
            let old = core::mem::replace(&mut known.descriptor, descriptor.clone());
            if known.beats == 0 {
                self.idle.remove(&(known.heard, short));
                self.idle.insert((heard, short));
            }
            known.heard = heard;
            self.touch(&short, &old, &descriptor);
            return Outcome::New;
        }
        if self.known.len() >= self.caps.nodes && !self.evict() && short != self.own {
            return Outcome::Dropped(DropReason::Full);
        }
        self.known.insert(
            short,
            Known {
                descriptor,
                beats: 0,
                heard,
                changes: (self.current, 0),
            },
        );
        self.idle.insert((heard, short));
        Outcome::New
    }

    /// Makes room by forgetting the node that is idle and longest unheard.
    fn evict(&mut self) -> bool {
        let Some(victim) = self
            .idle
            .iter()
            .find(|(_, short)| *short != self.own)
            .copied()
        else {
            return false;
        };
        self.idle.remove(&victim);
        self.known.remove(&victim.1);
        true
    }

    /// A verified beat: the first of its id and epoch is kept, a different second one is an equivocation.
    fn admit(&mut self, now: Moment, beat: Arc<Beat>, counters: &mut Counters) -> Outcome {
        let short = beat.short_id();
        let set = self.epochs.entry(beat.epoch()).or_default();
        if let Some(first) = set.beats.get(&short) {
            set.equivocators.insert(short);
            // Of ourselves we tell nobody: the second may be one that was never sent.
            if short != self.own
                && let Some(known) = self.known.get(&short)
                && self.equivocations.len() < MAX_EQUIVOCATIONS
            {
                let proof = Fault::of_beats(known.descriptor.id(), first, &beat);
                self.equivocations.extend(proof);
            }
            return Outcome::Dropped(DropReason::Equivocation);
        }
        if let Some(known) = self.known.get(&short) {
            set.items
                .insert(key_of_pair(&known.descriptor, &beat), short);
        }
        set.beats.insert(short, beat);
        set.held.insert(short, now);
        set.version += 1;
        self.changed = true;
        counters.beats += 1;
        if let Some(known) = self.known.get_mut(&short) {
            known.beats += 1;
            self.idle.remove(&(known.heard, short));
        }
        Outcome::New
    }

    /// Checks the beats that waited for this descriptor.
    fn resolve(&mut self, now: Moment, short: &ShortId, counters: &mut Counters) {
        for bytes in self.parked.take(short) {
            match self.insert_beat(now, &bytes, counters) {
                Outcome::New => {
                    let held = Beat::peek(&bytes)
                        .and_then(|(epoch, short)| self.beat(epoch, &short).cloned());
                    self.resolved.extend(held);
                }
                Outcome::Dropped(reason) => counters.drop(reason),
                Outcome::Seen | Outcome::Unchecked | Outcome::Parked(_) => {}
            }
        }
    }

    /// A changed descriptor changes the current and the next set, if it is in them. What is over stays as it was.
    fn touch(&mut self, short: &ShortId, old: &Descriptor, new: &Descriptor) {
        for (_, set) in self.epochs.range_mut(self.current..) {
            if let Some(beat) = set.beats.get(short) {
                set.items.remove(&key_of_pair(old, beat));
                set.items.insert(key_of_pair(new, beat), *short);
                set.version += 1;
                self.changed = true;
            }
        }
    }

    /// A beat of this node left the kept epochs.
    fn release(&mut self, short: &ShortId) {
        let Some(known) = self.known.get_mut(short) else {
            return;
        };
        known.beats = known.beats.saturating_sub(1);
        if known.beats == 0 {
            self.idle.insert((known.heard, *short));
        }
    }

    /// Idle nodes whose descriptor ended before the previous epoch are of no use any more.
    fn forget_expired(&mut self) {
        let horizon = epoch::start_of(&self.params, self.current.saturating_sub(1)).as_millis();
        let Self {
            idle, known, own, ..
        } = self;
        idle.retain(|(_, short)| {
            let expired = known
                .get(short)
                .is_none_or(|known| known.descriptor.fields().valid_until <= horizon);
            if expired && short != own {
                known.remove(short);
            }
            !expired || short == own
        });
    }
}
