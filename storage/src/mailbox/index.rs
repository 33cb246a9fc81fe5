//! What is held, in memory: for each record what is durable and what is staged. Ciphertexts stay in the store.
//!
//! Grows with the records, so the quota bounds it: about 160,000 slots at 256 MB.

use std::collections::BTreeMap;

use super::record::{HELD_LEN, Kind, RecordKey, TOMBSTONE_LEN};
use crate::{KEY_LEN, Millis};

/// A record without its ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The bucket it lies in and ends with.
    pub(super) bucket: u32,
    /// Whether only the tombstone is left.
    pub(super) buried: bool,
    pub(super) expires: Millis,
    pub(super) issued: Millis,
    /// BLAKE3 of the ciphertext: tells a repeated deposit from another one.
    pub(super) mark: [u8; 32],
}

impl Entry {
    fn cost(&self, key: &RecordKey) -> u64 {
        (key.len() + if self.buried { TOMBSTONE_LEN } else { HELD_LEN }) as u64
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    durable: Option<Entry>,
    /// The newest change that is not durable yet, and the batch that carries it.
    staged: Option<(u64, Entry)>,
}

impl Slot {
    fn latest(&self) -> Option<&Entry> {
        self.staged
            .as_ref()
            .map(|(_, entry)| entry)
            .or(self.durable.as_ref())
    }

    fn cost(&self, key: &RecordKey) -> u64 {
        self.latest().map_or(0, |entry| entry.cost(key))
    }
}

/// All records by key, and how many bytes they take.
#[derive(Debug, Default)]
pub(super) struct Index {
    slots: BTreeMap<RecordKey, Slot>,
    bytes: u64,
}

impl Index {
    /// What was true on disk last: the only state answers speak of.
    pub(super) fn durable(&self, key: &RecordKey) -> Option<&Entry> {
        self.slots.get(key)?.durable.as_ref()
    }

    /// What will be true once all staged batches are durable: what further deposits are judged by.
    pub(super) fn latest(&self, key: &RecordKey) -> Option<&Entry> {
        self.slots.get(key)?.latest()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes the store would hold after `entry` is written.
    pub(super) fn bytes_with(&self, key: &RecordKey, entry: &Entry) -> u64 {
        let old = self.slots.get(key).map_or(0, |slot| slot.cost(key));
        (self.bytes - old).saturating_add(entry.cost(key))
    }

    pub(super) fn stage(&mut self, seq: u64, key: RecordKey, entry: Entry) {
        self.change(key, |slot| slot.staged = Some((seq, entry)));
    }

    pub(super) fn make_durable(&mut self, seq: u64, key: RecordKey, entry: Entry) {
        self.change(key, |slot| {
            slot.durable = Some(entry);
            slot.staged = slot.staged.filter(|(staged, _)| *staged != seq);
        });
    }

    /// Forgets what was staged for this key.
    pub(super) fn roll_back(&mut self, key: RecordKey) {
        self.change(key, |slot| slot.staged = None);
    }

    /// Forgets the durable record: the store no longer has it.
    pub(super) fn lose(&mut self, key: RecordKey) {
        self.change(key, |slot| slot.durable = None);
    }

    /// Forgets every record of a bucket.
    pub(super) fn drop_bucket(&mut self, bucket: u32) {
        let mut bytes = self.bytes;
        self.slots.retain(|key, slot| {
            bytes -= slot.cost(key);
            slot.durable = slot.durable.filter(|entry| entry.bucket != bucket);
            slot.staged = slot.staged.filter(|(_, entry)| entry.bucket != bucket);
            bytes += slot.cost(key);
            slot.latest().is_some()
        });
        self.bytes = bytes;
    }

    /// The entries of one inbox in order, with what is the newest about each. At most as many as the inbox cap.
    pub(super) fn inbox(
        &self,
        key: &[u8; KEY_LEN],
    ) -> impl DoubleEndedIterator<Item = (u16, &Entry)> {
        self.inbox_slots(key)
            .filter_map(|(index, slot)| Some((index, slot.latest()?)))
    }

    /// One more than the highest durable index of an inbox.
    pub(super) fn inbox_count(&self, key: &[u8; KEY_LEN]) -> u16 {
        let last = self
            .inbox_slots(key)
            .rev()
            .find(|(_, slot)| slot.durable.is_some());
        last.map_or(0, |(index, _)| index.saturating_add(1))
    }

    fn inbox_slots(&self, key: &[u8; KEY_LEN]) -> impl DoubleEndedIterator<Item = (u16, &Slot)> {
        let range = RecordKey::inbox(*key, 0)..=RecordKey::inbox(*key, u16::MAX);
        self.slots.range(range).map(|(key, slot)| {
            debug_assert_eq!(key.kind, Kind::Inbox);
            (key.index, slot)
        })
    }

    fn change(&mut self, key: RecordKey, how: impl FnOnce(&mut Slot)) {
        let slot = self.slots.entry(key).or_default();
        self.bytes -= slot.cost(&key);
        how(slot);
        self.bytes += slot.cost(&key);
        if slot.latest().is_none() {
            self.slots.remove(&key);
        }
    }
}
