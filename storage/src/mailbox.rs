//! The holder: a state machine over a [`Backend`], without clock, threads or sockets.
//!
//! Order of calls: [`Mailboxes::handle_op`] and [`Mailboxes::handle_timeout`] change what is staged; then [`Mailboxes::poll_batch`] gives the
//! next batch to commit (one at a time), the driver commits it and reports [`Mailboxes::handle_durable`] or [`Mailboxes::handle_failed`];
//! then [`Mailboxes::poll_answer`] until it gives none, and [`Mailboxes::poll_timeout`] for the next alarm.
//! **Every answer speaks of durable state only.**

mod counters;
mod deposit;
mod fetch;
mod index;
mod record;
mod store;
mod waiting;

use std::{
    collections::{BTreeSet, VecDeque},
    ops::RangeInclusive,
};

pub use counters::{Counters, DropReason};
use index::Index;
use record::RecordKey;
pub use record::{HELD_LEN, TOMBSTONE_LEN};
use store::{InFlight, Staged};
use waiting::Waiting;

use crate::{
    BODY_LEN, Millis, SURB_LEN, SurbBytes,
    answer::Answer,
    backend::{Backend, BackendError, Batch},
    op::Op,
    stamp::{HashStamp, Stamp, effort_at},
};

/// Limits and network values of a holder.
#[derive(Clone, Debug)]
pub struct MailboxConfig {
    /// Network id, 32 B; signatures and stamps are bound to it.
    pub network: [u8; 32],
    /// Bytes of records held at most. Default 256 MB (268,435,456).
    pub quota_bytes: u64,
    /// Entries of one inbox key at most. Default 64.
    pub inbox_cap: u16,
    /// Longest wait of a fetch, ms. Default 120,000.
    pub max_wait_ms: u32,
    /// Longest life of a record from now, ms. Default 9 days.
    pub max_ttl_ms: u64,
    /// Width of an expiry bucket, ms: a record lives until the end of the bucket its expiry falls in. Default 1 h.
    pub bucket_ms: u64,
    /// Expiry buckets at most; beyond, a record shares the next later one. Default 64.
    pub buckets: usize,
    /// Stamp bits of an empty holder. Default 8.
    pub effort: u8,
    /// Waiting fetches on one id at most. Default 4.
    pub waiters_per_id: usize,
    /// Waiting fetches at most. Default 4,096.
    pub waiters: usize,
    /// Staged changes at most; what comes beyond is refused. Default 1,024.
    pub staged: usize,
    /// Answers not yet taken at most; a fetch that comes beyond is refused. Default 1,024.
    pub answers: usize,
    /// Pause after a failed commit before deposits are taken again, ms. Default 2,000.
    pub retry_ms: u64,
}

impl MailboxConfig {
    /// Defaults for a network.
    #[must_use]
    pub fn new(network: [u8; 32]) -> Self {
        Self {
            network,
            quota_bytes: 256 << 20,
            inbox_cap: 64,
            max_wait_ms: 120_000,
            max_ttl_ms: 9 * 86_400_000,
            bucket_ms: 3_600_000,
            buckets: 64,
            effort: 8,
            waiters_per_id: 4,
            waiters: 4096,
            staged: 1024,
            answers: 1024,
            retry_ms: 2_000,
        }
    }

    /// Limits that must not be zero.
    fn check(&self) -> Result<(), OpenError> {
        let zero = [
            ("quota_bytes", self.quota_bytes == 0),
            ("bucket_ms", self.bucket_ms == 0),
            ("buckets", self.buckets == 0),
            ("waiters_per_id", self.waiters_per_id == 0),
            ("waiters", self.waiters == 0),
            ("staged", self.staged == 0),
            ("answers", self.answers == 0),
        ];
        zero.iter()
            .find(|(_, zero)| *zero)
            .map_or(Ok(()), |(name, _)| Err(OpenError::Setting(name)))
    }
}

/// Why a holder does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The store does not open or read.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A record of a newer version.
    #[error(
        "the store holds records of version {found}, this program knows {known}: update the program; nothing was changed"
    )]
    NewerRecords {
        /// Version found.
        found: u8,
        /// Newest version known here.
        known: u8,
    },
    /// What the store says of itself is damaged.
    #[error(
        "the store's own description is damaged: restore the data directory from a backup, or start with an empty one"
    )]
    Meta,
    /// The store belongs to another network.
    #[error("the store was made for another network: choose another data directory for this one")]
    OtherNetwork,
    /// The store was made with another width of expiry buckets.
    #[error(
        "the store was made with another width of expiry buckets than {configured} ms: use the setting it was made with, or an empty data directory"
    )]
    OtherWidth {
        /// Width configured now, ms.
        configured: u64,
    },
    /// A limit that cannot work.
    #[error("mailbox setting {0} must be greater than zero")]
    Setting(&'static str),
}

/// An answer ready to leave: the SURB it goes by and the body, 1,803 B.
#[derive(Clone, PartialEq, Eq)]
pub struct PendingAnswer {
    /// 277 B, as they came.
    pub surb: [u8; SURB_LEN],
    /// 1,803 B.
    pub body: Box<[u8; BODY_LEN]>,
}

impl std::fmt::Debug for PendingAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PendingAnswer(..)")
    }
}

/// How much is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of records, as the quota counts them.
    pub bytes: u64,
    /// The quota.
    pub quota: u64,
    /// Records, tombstones too.
    pub records: u64,
    /// Fetches that wait.
    pub waiting: u64,
    /// Stamp bits asked for now.
    pub effort: u8,
}

/// The holder. The order of calls is at the top of this module.
pub struct Mailboxes<B: Backend> {
    backend: B,
    config: MailboxConfig,
    stamp: Box<dyn Stamp>,
    epochs: RangeInclusive<u32>,
    index: Index,
    /// Buckets in use.
    buckets: BTreeSet<u32>,
    /// Buckets that have ended and are not yet dropped from the store.
    dropping: BTreeSet<u32>,
    /// Records that a failed batch may have left in the store.
    leftovers: BTreeSet<(u32, RecordKey)>,
    staged: Staged,
    in_flight: Option<InFlight>,
    next_seq: u64,
    retry_at: Option<Millis>,
    waiting: Waiting,
    answers: VecDeque<(SurbBytes, Answer)>,
    counters: Counters,
}

impl<B: Backend> Mailboxes<B> {
    /// Opens the holder on a store and rebuilds its index by reading every record once.
    ///
    /// # Errors
    /// [`OpenError`]; a damaged record is counted and skipped, it is no error.
    pub fn open(backend: B, config: MailboxConfig, now: Millis) -> Result<Self, OpenError> {
        config.check()?;
        let found = store::open(&backend, &config, now)?;
        let waiting = Waiting::new(config.waiters_per_id, config.waiters);
        let counters = Counters {
            corrupt: found.corrupt,
            doubled: found.doubled,
            ..Counters::default()
        };
        Ok(Self {
            backend,
            config,
            stamp: Box::new(HashStamp),
            epochs: 0..=u32::MAX,
            index: found.index,
            buckets: found.buckets,
            dropping: found.dropping,
            leftovers: BTreeSet::new(),
            staged: Staged::default(),
            in_flight: None,
            next_seq: 1,
            retry_at: None,
            waiting,
            answers: VecDeque::new(),
            counters,
        })
    }

    /// Checks stamps by another kind of proof than [`HashStamp`].
    #[must_use]
    pub fn with_stamp(mut self, stamp: Box<dyn Stamp>) -> Self {
        self.stamp = stamp;
        self
    }

    /// Epochs whose operations are taken, first and last; all by default.
    pub fn set_epochs(&mut self, first: u32, last: u32) {
        self.epochs = first..=last;
    }

    /// An operation from a packet for which this node is the last hop. What is wrong with it is counted, never answered.
    pub fn handle_op(&mut self, now: Millis, body: &[u8; BODY_LEN]) {
        if let Err(reason) = self.judge(now, body) {
            self.counters.drop(reason);
        }
    }

    fn judge(&mut self, now: Millis, body: &[u8; BODY_LEN]) -> Result<(), DropReason> {
        let op = Op::decode(body).map_err(|_| DropReason::Malformed)?;
        if !self.epochs.contains(&op.epoch()) {
            return Err(DropReason::Epoch);
        }
        match op {
            Op::PutBox { .. } | Op::PutInbox { .. } | Op::PutPrekey { .. } => {
                self.deposit(now, &op)
            }
            Op::DelBox { .. } | Op::DelInbox { .. } => self.delete(now, &op),
            Op::GetBox { .. } | Op::StatBox { .. } | Op::GetInbox { .. } | Op::GetPrekey { .. } => {
                self.fetch(now, op)
            }
        }
    }

    /// The next batch to commit, with its number. None while one is in flight, nothing is staged, or a failure is still fresh.
    /// The node may append changes of its own to [`crate::backend::Space::State`] for one sync.
    pub fn poll_batch(&mut self) -> Option<(u64, Batch)> {
        self.next_batch()
    }

    /// The batch of this number is durable: fetches that waited for what it holds are answered. Another number is ignored.
    pub fn handle_durable(&mut self, seq: u64) {
        self.durable(seq);
    }

    /// The batch of this number could not be committed: what was not durable is forgotten, deposits are refused for a while, then it goes on.
    pub fn handle_failed(&mut self, now: Millis, seq: u64) {
        self.failed(now, seq);
    }

    /// The next answer to send. The mixer adds the delay that hides the crossover.
    pub fn poll_answer(&mut self) -> Option<PendingAnswer> {
        let (surb, answer) = self.answers.pop_front()?;
        Some(PendingAnswer {
            surb: *surb,
            body: answer.encode(),
        })
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Millis> {
        [self.waiting.next_end(), self.next_expiry(), self.retry_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Ends fetches that waited long enough, stages the end of expired buckets, ends the pause after a failure.
    pub fn handle_timeout(&mut self, now: Millis) {
        while let Some(waiter) = self.waiting.take_ended(now) {
            self.end_wait(waiter);
        }
        self.expire(now);
        self.retry_at = self.retry_at.filter(|at| now < *at);
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How much is held.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            bytes: self.index.bytes(),
            quota: self.config.quota_bytes,
            records: self.index.len() as u64,
            waiting: self.waiting.len() as u64,
            effort: self.effort(),
        }
    }

    /// The store.
    #[must_use]
    pub fn backend(&self) -> &B {
        &self.backend
    }

    fn effort(&self) -> u8 {
        effort_at(
            self.config.effort,
            self.index.bytes(),
            self.config.quota_bytes,
        )
    }
}

impl<B: Backend> std::fmt::Debug for Mailboxes<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailboxes")
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
