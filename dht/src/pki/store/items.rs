//! A set as reconciliation sees it: one item per node, its beat with the descriptor that the beat needs. SPEC.md §21.
//!
//! The key covers what both say and not their signatures: a signer can make many signatures of the same words, and two nodes
//! that hold different ones agree all the same.

use super::Store;
use crate::{
    beat::{BEAT_LEN, Beat},
    bundle::{self, Record},
    counters::{Counters, DropReason},
    descriptor::Descriptor,
    epoch,
    id::{derive, short_id},
    reconcile::{self, Key},
    wire::Reader,
};
use mix::ShortId;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Keys remembered as useless, per epoch. When full, no more are.
const MAX_REFUSED: usize = 1_024;

/// What an item says: a beat, and the descriptor it needs.
pub(in crate::pki) type Pair = (Arc<Descriptor>, Arc<Beat>);

/// The keys of one epoch.
#[derive(Debug, Default)]
pub(super) struct Items {
    keys: BTreeMap<Key, ShortId>,
    /// All keys in a row, while nothing has changed.
    row: Option<Arc<[Key]>>,
    /// Items that came and were not kept: outdated, second beats, beyond a cap.
    refused: BTreeSet<Key>,
}

impl Items {
    pub(super) fn insert(&mut self, key: Key, short: ShortId) {
        self.keys.insert(key, short);
        self.row = None;
    }

    /// Whose item this is.
    pub(super) fn short(&self, key: &Key) -> Option<&ShortId> {
        self.keys.get(key)
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.keys.remove(key);
        self.row = None;
    }
}

/// What a store holds of one epoch, for [`reconcile`].
pub(in crate::pki) struct Held<'a> {
    store: &'a Store,
    epoch: u32,
    row: Arc<[Key]>,
}

impl Store {
    /// All keys of an epoch in a row.
    pub(super) fn row(&mut self, epoch: u32) -> Arc<[Key]> {
        match self.epochs.get_mut(&epoch) {
            Some(set) => {
                let Items { keys, row, .. } = &mut set.items;
                row.get_or_insert_with(|| keys.keys().copied().collect())
                    .clone()
            }
            None => Arc::default(),
        }
    }

    /// The items of an epoch; none if it isn't kept.
    pub(in crate::pki) fn held(&mut self, epoch: u32) -> Held<'_> {
        let row = self.row(epoch);
        Held {
            store: self,
            epoch,
            row,
        }
    }

    /// Remembers that an item which came is of no use, unless it was kept.
    pub(in crate::pki) fn refuse_unless_held(&mut self, epoch: u32, key: Key) {
        let Some(set) = self.epochs.get_mut(&epoch) else {
            return;
        };
        if !set.items.keys.contains_key(&key) && set.items.refused.len() < MAX_REFUSED {
            set.items.refused.insert(key);
        }
    }

    /// The records of an epoch's open set, with their keys.
    pub(in crate::pki) fn pairs(&self, epoch: u32) -> impl Iterator<Item = (Key, Pair)> {
        let set = self.epochs.get(&epoch);
        let all = set.into_iter().flat_map(|set| &set.items.keys);
        all.filter_map(move |(key, short)| {
            let pair = (
                self.descriptor(short)?.clone(),
                self.beat(epoch, short)?.clone(),
            );
            Some((*key, pair))
        })
    }

    /// The two records of an item, checked: ours if we hold the same, whatever the open set makes of them.
    pub(in crate::pki) fn pair_of(
        &self,
        epoch: u32,
        item: &[u8],
        counters: &mut Counters,
    ) -> Result<Pair, DropReason> {
        let (descriptor, beat) = pair(item).ok_or(DropReason::Malformed)?;
        let descriptor = Descriptor::decode(descriptor)?;
        let beat = Beat::decode(beat)?;
        let short = short_id(&self.network, &descriptor.id());
        if beat.short_id() != short || beat.epoch() != epoch {
            return Err(DropReason::Malformed);
        }
        let (from, until) = (
            epoch::start_of(&self.params, epoch),
            epoch::end_of(&self.params, epoch),
        );
        if !descriptor.covers(from, until) {
            return Err(DropReason::Validity);
        }
        let held = self.descriptor(&short);
        let id = descriptor.id();
        let descriptor = match held.filter(|held| held.body() == descriptor.body()) {
            Some(held) => held.clone(),
            None => {
                counters.verified += 1;
                descriptor.verify(&self.network)?;
                Arc::new(descriptor)
            }
        };
        let held = self.beat(epoch, &short);
        let beat = match held.filter(|held| held.body() == beat.body()) {
            Some(held) => held.clone(),
            None => {
                counters.verified += 1;
                beat.verify(&self.network, &id)?;
                Arc::new(beat)
            }
        };
        Ok((descriptor, beat))
    }

    /// Whether beats of this epoch may still change its set.
    pub(in crate::pki) fn is_open(&self, epoch: u32) -> bool {
        epoch >= self.current && epoch <= self.current.saturating_add(1)
    }
}

impl reconcile::Items for Held<'_> {
    fn keys(&self) -> &[Key] {
        &self.row
    }

    fn write(&self, key: &Key, out: &mut Vec<u8>) {
        let set = self.store.epochs.get(&self.epoch);
        let short = set.and_then(|set| set.items.keys.get(key));
        let records = short.and_then(|short| {
            let descriptor = self.store.descriptor(short)?;
            Some((descriptor, self.store.beat(self.epoch, short)?))
        });
        if let Some((descriptor, beat)) = records {
            bundle::put(out, Record::Descriptor(descriptor.as_bytes()));
            bundle::put(out, Record::Beat(beat.as_bytes()));
        }
    }

    fn key_of(&self, item: &[u8]) -> Option<Key> {
        key_of_item(self.epoch, item)
    }

    fn refuses(&self, key: &Key) -> bool {
        let set = self.store.epochs.get(&self.epoch);
        set.is_some_and(|set| set.items.refused.contains(key))
    }
}

/// The two records of an item: a descriptor, then a beat, nothing else.
pub(in crate::pki) fn pair(item: &[u8]) -> Option<(&[u8], &[u8; BEAT_LEN])> {
    let mut reader = Reader::new(item);
    let (Record::Descriptor(descriptor), Record::Beat(beat)) =
        (bundle::record(&mut reader)?, bundle::record(&mut reader)?)
    else {
        return None;
    };
    reader.end()?;
    Some((descriptor, beat))
}

/// The key of an item of this epoch; `None` if it is none.
pub(in crate::pki) fn key_of_item(epoch: u32, item: &[u8]) -> Option<Key> {
    let (descriptor, beat) = pair(item)?;
    let (of, _) = Beat::peek(beat)?;
    (of == epoch).then_some(())?;
    let descriptor = Descriptor::decode(descriptor).ok()?;
    Some(key(&descriptor.hash(), Beat::body_of(beat)))
}

pub(in crate::pki) fn key_of_pair(descriptor: &Descriptor, beat: &Beat) -> Key {
    key(&descriptor.hash(), beat.body())
}

fn key(descriptor: &[u8; 32], beat: &[u8]) -> Key {
    let hash = derive("murmuration/v1/item", &[descriptor, beat]);
    let mut key = [0; 16];
    key.copy_from_slice(&hash[..16]);
    key
}
