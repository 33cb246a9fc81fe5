//! What the sets of an epoch rest on besides its records: the seeds, and the certified directories before it. SPEC.md §11.

use super::Store;
use crate::{
    bans::Offence,
    beat::Beat,
    certificate::Certificate,
    descriptor::Descriptor,
    directory::{Basis, Directory},
    epoch::Seeds,
    reconcile::Key,
};
use mix::{ShortId, time::Moment};
use std::{collections::BTreeMap, sync::Arc};

/// After so many epochs without a certificate the last certified directory counts for nothing any more: the mesh begins anew.
/// Until then its candidates stay, so that the halves of a split mesh don't each certify a set of their own.
pub(in crate::pki) const RESTART: u32 = 24;

/// A certified epoch: its certificate, and the set that it is about.
#[derive(Clone, Debug)]
pub(in crate::pki) struct Certified {
    pub(in crate::pki) certificate: Arc<Certificate>,
    pub(in crate::pki) directory: Arc<Directory>,
}

/// The past as this node knows it.
#[derive(Debug)]
pub(in crate::pki) struct Past {
    seeds: Seeds,
    /// Seeds that a later commitment must not change, of kept epochs.
    fixed: BTreeMap<u32, [u8; 32]>,
    certified: BTreeMap<u32, Certified>,
}

impl Past {
    pub(super) fn new(genesis_seed: [u8; 32]) -> Self {
        Self {
            seeds: Seeds::genesis(genesis_seed),
            fixed: BTreeMap::new(),
            certified: BTreeMap::new(),
        }
    }

    pub(in crate::pki) fn seed(&self, epoch: u32) -> [u8; 32] {
        let fixed = self.fixed.get(&epoch).copied();
        fixed.or_else(|| self.seeds.at(epoch)).unwrap_or_default()
    }

    pub(in crate::pki) fn seeds(&self) -> Seeds {
        self.seeds
    }

    /// The certified set of an epoch.
    pub(in crate::pki) fn certified(&self, epoch: u32) -> Option<&Certified> {
        self.certified.get(&epoch)
    }

    /// The last certified set before an epoch, unless that is too long ago.
    pub(in crate::pki) fn before(&self, epoch: u32) -> Option<&Certified> {
        let (of, certified) = self.certified.range(..epoch).next_back()?;
        (epoch - of <= RESTART).then_some(certified)
    }

    /// All certified sets kept, from the oldest to the newest.
    pub(in crate::pki) fn all(&self) -> impl Iterator<Item = &Certified> {
        self.certified.values()
    }

    /// The last certified set of all.
    pub(in crate::pki) fn last(&self) -> Option<&Certified> {
        self.certified.values().next_back()
    }

    /// Kept are the certified sets of kept epochs, and the last one before.
    fn turn(&mut self, current: u32) {
        let oldest = current.saturating_sub(1);
        self.fixed.retain(|epoch, _| *epoch >= oldest);
        let last = self.certified.range(..oldest).next_back();
        let last = last.map_or(oldest, |(epoch, _)| *epoch);
        self.certified.retain(|epoch, _| *epoch >= last);
    }
}

/// The records of a set in the order of their keys, as they were at some moment.
#[derive(Clone, Debug)]
pub(in crate::pki) struct Listed {
    pub(in crate::pki) keys: Arc<[Key]>,
    pub(in crate::pki) pairs: Arc<[(Arc<Descriptor>, Arc<Beat>)]>,
}

impl Store {
    pub(in crate::pki) fn past(&self) -> &Past {
        &self.past
    }

    pub(super) fn turn_past(&mut self) {
        let (oldest, next) = (
            self.current.saturating_sub(1),
            self.current.saturating_add(1),
        );
        for epoch in oldest..=next {
            // Once an epoch is near, nothing that is committed later changes its seed behind our back.
            if epoch <= self.current {
                let seed = self.past.seed(epoch);
                self.past.fixed.entry(epoch).or_insert(seed);
            }
        }
        self.past.turn(self.current);
    }

    /// Header e−1, of seed `previous`, is certified and commits a certificate whose mix this is: the seed of `epoch` is known.
    pub(in crate::pki) fn commit_seed(&mut self, epoch: u32, previous: &[u8; 32], mix: &[u8; 32]) {
        let before = self.past.seed(epoch);
        for kept in self.current.saturating_sub(1)..epoch {
            let seed = self.past.seed(kept);
            self.past.fixed.entry(kept).or_insert(seed);
        }
        self.past.seeds.commit(epoch, previous, mix);
        if let Some(seed) = self.past.seeds.at(epoch) {
            self.past.fixed.remove(&epoch);
            if seed != before {
                self.rebuild(epoch);
            }
        }
    }

    /// Header `epoch` is certified: what isn't committed after it starts from its seed.
    pub(in crate::pki) fn rest_seed(&mut self, epoch: u32, seed: &[u8; 32]) {
        let after = epoch.saturating_add(1);
        let before = self.past.seed(after);
        for kept in self.current.saturating_sub(1)..after {
            let seed = self.past.seed(kept);
            self.past.fixed.entry(kept).or_insert(seed);
        }
        self.past.seeds.rest_on(epoch, seed);
        if self.past.seed(after) != before {
            self.rebuild(after);
        }
    }

    /// Takes over what a certified header says of its seed: for whoever could not follow the seeds up to it.
    pub(in crate::pki) fn trust_seed(&mut self, epoch: u32, seed: [u8; 32]) {
        if self.past.seed(epoch) != seed {
            self.past.fixed.insert(epoch, seed);
            self.rebuild(epoch);
        }
    }

    /// Goes on with seeds of before a restart.
    pub(in crate::pki) fn restore_seeds(&mut self, seeds: Seeds) {
        self.past.seeds = seeds;
        self.rebuild(self.current);
    }

    /// The set of an epoch is certified: from now on it is what it is.
    pub(in crate::pki) fn certify(&mut self, certified: Certified) {
        let epoch = certified.directory.epoch();
        self.past.certified.insert(epoch, certified);
        self.rebuild(epoch);
        self.past.turn(self.current);
    }

    /// Sets of this epoch and later ones, as far as they may change, are built anew.
    pub(in crate::pki) fn rebuild(&mut self, from: u32) {
        for (_, set) in self.epochs.range_mut(from.max(self.current)..) {
            set.version += 1;
        }
        self.changed = true;
    }

    /// What the set of an epoch rests on, with these faults and this certificate of the epoch before: zero if there is none, then
    /// it rests on what was certified before that. `None` for a set that isn't to be certified: it rests on all that is known.
    pub(in crate::pki) fn basis(
        &self,
        epoch: u32,
        offences: impl IntoIterator<Item = Offence>,
        previous: Option<[u8; 32]>,
    ) -> Basis {
        let until = match previous {
            Some(hash) if hash == [0; 32] => epoch.saturating_sub(1),
            _ => epoch,
        };
        let certified = self.past.before(until).map(|held| held.directory.clone());
        let previous = previous.unwrap_or_default();
        Basis::after(&self.params, epoch, certified, offences, previous)
    }

    /// The open set of an epoch as it is now.
    pub(in crate::pki) fn listed(&mut self, epoch: u32) -> Listed {
        let keys = self.row(epoch);
        let set = self.epochs.get(&epoch);
        let pairs = keys.iter().filter_map(|key| {
            let short = set?.items.short(key)?;
            let beat = set?.beats.get(short)?;
            Some((self.known.get(short)?.descriptor.clone(), beat.clone()))
        });
        Listed {
            pairs: pairs.collect(),
            keys,
        }
    }

    /// The directory that these records make on this basis.
    pub(in crate::pki) fn build(
        &self,
        epoch: u32,
        listed: &Listed,
        basis: &Basis,
    ) -> Arc<Directory> {
        let seed = self.seed(epoch);
        let certified = basis.certified.as_ref().map_or([0; 32], |d| d.root());
        let keys = listed.keys.concat();
        let bans = basis.bans.hash();
        let parts: [&[u8]; 7] = [
            &epoch.to_le_bytes(),
            &seed,
            &certified,
            &bans,
            &basis.previous_certificate,
            &self.network.0,
            &keys,
        ];
        self.memo.directory(&parts, || {
            let pairs = listed.pairs.iter().cloned();
            Directory::build_on(&self.params, epoch, seed, pairs, basis)
        })
    }

    /// The beats of an epoch that were held by a moment.
    pub(in crate::pki) fn held_by(
        &self,
        epoch: u32,
        moment: Moment,
    ) -> impl Iterator<Item = (&ShortId, &Arc<Beat>)> {
        let set = self.epochs.get(&epoch);
        let held = set.into_iter().flat_map(|set| &set.held);
        held.filter(move |(_, at)| **at <= moment)
            .filter_map(move |(short, _)| Some((short, set?.beats.get(short)?)))
    }
}
