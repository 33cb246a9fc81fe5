//! The holder: a state machine over a [`Backend`], without clock, threads or sockets.
//!
//! Order of calls: [`Mailboxes::handle_op`] and [`Mailboxes::handle_timeout`] change what is staged; then [`Mailboxes::poll_batch`] gives the
//! next batch to commit (one at a time), the driver commits it and reports [`Mailboxes::handle_durable`] or [`Mailboxes::handle_failed`];
//! then [`Mailboxes::poll_answer`] until it gives none, and [`Mailboxes::poll_timeout`] for the next alarm.
//! **Every answer speaks of durable state only.**

use crate::{
    BODY_LEN, Millis, SURB_LEN,
    backend::{Backend, BackendError, Batch},
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
    /// Stamp bits of an empty holder.
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
            effort: 8,
            waiters_per_id: 4,
            waiters: 4096,
            staged: 1024,
            answers: 1024,
            retry_ms: 2_000,
        }
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

/// What was counted since the start. Numbers only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {}

/// The holder.
pub struct Mailboxes<B: Backend> {
    backend: B,
    config: MailboxConfig,
}

impl<B: Backend> Mailboxes<B> {
    /// Opens the holder on a store and rebuilds its index.
    ///
    /// # Errors
    /// [`OpenError`]; a damaged record is counted and skipped, it is no error.
    pub fn open(backend: B, config: MailboxConfig, now: Millis) -> Result<Self, OpenError> {
        let _ = now;
        Ok(Self { backend, config })
    }

    /// Epochs whose operations are taken, first and last; all by default.
    pub fn set_epochs(&mut self, first: u32, last: u32) {
        let _ = (first, last);
    }

    /// An operation from a packet for which this node is the last hop.
    pub fn handle_op(&mut self, now: Millis, body: &[u8; BODY_LEN]) {
        let _ = (now, body);
    }

    /// The next batch to commit, with its number. None while one is in flight or nothing is staged.
    pub fn poll_batch(&mut self) -> Option<(u64, Batch)> {
        None
    }

    /// The batch of this number is durable.
    pub fn handle_durable(&mut self, seq: u64) {
        let _ = seq;
    }

    /// The batch of this number could not be committed: what was not durable is forgotten, deposits are refused for a while.
    pub fn handle_failed(&mut self, now: Millis, seq: u64) {
        let _ = (now, seq);
    }

    /// The next answer to send.
    pub fn poll_answer(&mut self) -> Option<PendingAnswer> {
        None
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Millis> {
        None
    }

    /// Ends fetches that waited long enough and stages the end of expired buckets.
    pub fn handle_timeout(&mut self, now: Millis) {
        let _ = now;
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        todo!()
    }

    /// How much is held.
    #[must_use]
    pub fn usage(&self) -> Usage {
        todo!()
    }

    /// The store.
    #[must_use]
    pub fn backend(&self) -> &B {
        let _ = &self.config;
        &self.backend
    }
}
