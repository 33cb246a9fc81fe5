//! What must be on disk before it may have an effect.
//!
//! The core never waits for a disk. It collects everything that has to be durable (sealed state,
//! mailbox entries, epoch keys, replay tags) into one [`Commit`] at a time and holds back what
//! depends on it: packets in the pool, answers of the mailbox, replies to the user. The driver
//! writes the commit, syncs it once and reports its number; the next commit gathers meanwhile, so
//! that groups form by themselves when the disk is slow.

use std::collections::VecDeque;

use storage::backend::Batch;

/// The file of one epoch: its sealed mix key and the replay tags that guard it, one lifetime.
#[derive(Clone, Debug)]
pub enum KeyFile {
    /// Write a new file with the sealed key.
    Create {
        /// The key's epoch.
        epoch: u32,
        /// The key, sealed by the vault.
        sealed: Vec<u8>,
    },
    /// Append tags of packets taken in under the key.
    Append {
        /// The key's epoch.
        epoch: u32,
        /// Replay tags, 16 bytes each.
        tags: Vec<[u8; 16]>,
    },
    /// Erase key and tags together.
    Erase {
        /// The key's epoch.
        epoch: u32,
    },
}

/// One group of writes, made durable together.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Reported back by [`Core::handle_durable`](super::Core::handle_durable).
    pub seq: u64,
    /// The node's own sealed state.
    pub state: Batch,
    /// Entries of the mailbox; given up when the disk is full, while the rest is tried again.
    pub mailbox: Batch,
    /// Epoch keys and replay tags, in order.
    pub keys: Vec<KeyFile>,
}

impl Commit {
    /// State and mailbox entries together: one sync for both.
    #[must_use]
    pub fn batch(&self) -> Batch {
        let mut batch = self.state.clone();
        batch.append(self.mailbox.clone());
        batch
    }
}

/// Gathers writes and releases what waited for them.
#[derive(Debug)]
pub(super) struct Journal<T> {
    /// The commit being gathered will carry this number.
    next: u64,
    in_flight: Option<InFlight>,
    batch: Batch,
    keys: Vec<KeyFile>,
    waiting: VecDeque<(u64, T)>,
}

#[derive(Debug)]
struct InFlight {
    seq: u64,
    mailbox_seq: Option<u64>,
    tag_seq: Option<u64>,
}

impl<T> Journal<T> {
    pub(super) fn new() -> Self {
        Self {
            next: 1,
            in_flight: None,
            batch: Batch::default(),
            keys: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// The batch that the next commit will carry.
    pub(super) fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    pub(super) fn key_file(&mut self, write: KeyFile) {
        self.keys.push(write);
    }

    /// Holds `then` back until everything written so far is durable.
    pub(super) fn after(&mut self, then: T) {
        self.waiting.push_back((self.next, then));
    }

    /// The commit that the latest write will be part of; none if all is durable.
    pub(super) fn pending(&self) -> Option<u64> {
        let for_next = self
            .waiting
            .back()
            .is_some_and(|(due, _)| *due == self.next);
        if !self.batch.is_empty() || !self.keys.is_empty() || for_next {
            return Some(self.next);
        }
        self.in_flight.as_ref().map(|flight| flight.seq)
    }

    /// What waits for commits, oldest first.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &T> {
        self.waiting.iter().map(|(_, then)| then)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }

    /// The next commit, unless one is under way or there is nothing to write.
    pub(super) fn take(
        &mut self,
        mailbox: Option<(u64, Batch)>,
        tag_seq: Option<u64>,
    ) -> Option<Commit> {
        if self.in_flight.is_some() {
            return None;
        }
        let (mailbox_seq, mailbox) =
            mailbox.map_or((None, Batch::default()), |(seq, batch)| (Some(seq), batch));
        let idle = self.batch.is_empty()
            && self.keys.is_empty()
            && mailbox_seq.is_none()
            && tag_seq.is_none()
            && self.waiting.is_empty();
        if idle {
            return None;
        }
        let seq = self.next;
        self.next += 1;
        self.in_flight = Some(InFlight {
            seq,
            mailbox_seq,
            tag_seq,
        });
        Some(Commit {
            seq,
            state: std::mem::take(&mut self.batch),
            mailbox,
            keys: std::mem::take(&mut self.keys),
        })
    }

    /// The mailbox's part of a commit is given up.
    pub(super) fn without_mailbox(&mut self, seq: u64) -> Option<u64> {
        let flight = self.in_flight.as_mut().filter(|flight| flight.seq == seq)?;
        flight.mailbox_seq.take()
    }

    /// A commit is durable: what it frees in the mailbox, in the mixer and here.
    pub(super) fn durable(&mut self, seq: u64) -> Option<Released<T>> {
        let done = self.in_flight.take_if(|flight| flight.seq == seq)?;
        let mut freed = Vec::new();
        while self.waiting.front().is_some_and(|(due, _)| *due <= seq) {
            freed.extend(self.waiting.pop_front().map(|(_, then)| then));
        }
        Some(Released {
            mailbox_seq: done.mailbox_seq,
            tag_seq: done.tag_seq,
            freed,
        })
    }
}

/// What a durable commit frees.
#[derive(Debug)]
pub(super) struct Released<T> {
    pub(super) mailbox_seq: Option<u64>,
    pub(super) tag_seq: Option<u64>,
    pub(super) freed: Vec<T>,
}
