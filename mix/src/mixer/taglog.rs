//! Replay tags on their way to the disk: batches with sequence numbers, in order, and how far the disk has come. Does not
//! write anything itself. SPEC.md §8.

use core::fmt;
use std::collections::VecDeque;

/// Replay tags of one key that became known since the last batch, to be made durable.
#[derive(Clone, PartialEq, Eq)]
pub struct TagBatch {
    /// Grows by one from batch to batch, from 1.
    pub seq: u64,
    /// Whose key.
    pub epoch: u32,
    /// The tags, 16 bytes each.
    pub tags: Vec<[u8; 16]>,
}

impl fmt::Debug for TagBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "TagBatch(seq {}, epoch {}, {} tags)",
            self.seq,
            self.epoch,
            self.tags.len()
        )
    }
}

#[derive(Debug)]
pub(super) struct TagLog {
    /// Not yet fetched, one per epoch at most, so that its length is bounded by the keys.
    open: VecDeque<TagBatch>,
    /// Tags in `open`.
    waiting: usize,
    cap: usize,
    next_seq: u64,
    polled: u64,
    synced: u64,
}

impl TagLog {
    pub(super) fn new(cap: usize) -> Self {
        Self {
            open: VecDeque::new(),
            waiting: 0,
            cap,
            next_seq: 1,
            polled: 0,
            synced: 0,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting >= self.cap
    }

    /// Adds a tag to its epoch's open batch and returns the number of that batch.
    pub(super) fn push(&mut self, epoch: u32, tag: [u8; 16]) -> u64 {
        self.waiting += 1;
        if let Some(batch) = self.open.iter_mut().find(|batch| batch.epoch == epoch) {
            batch.tags.push(tag);
            return batch.seq;
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        self.open.push_back(TagBatch {
            seq,
            epoch,
            tags: vec![tag],
        });
        seq
    }

    pub(super) fn poll(&mut self) -> Option<TagBatch> {
        let batch = self.open.pop_front()?;
        self.waiting -= batch.tags.len();
        self.polled = batch.seq;
        Some(batch)
    }

    /// Notes how far the disk has come, never beyond what was fetched and never backwards, and returns it.
    pub(super) fn handle_synced(&mut self, seq: u64) -> u64 {
        self.synced = self.synced.max(seq.min(self.polled));
        self.synced
    }

    pub(super) fn synced(&self) -> u64 {
        self.synced
    }
}
