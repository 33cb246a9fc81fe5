//! What a holder counts: numbers only, never a box, a key or a peer.

/// Why an operation was dropped. The sender is not told; the operator reads the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DropReason {
    /// The bytes are no operation of this version.
    Malformed,
    /// It names an epoch outside the range taken.
    Epoch,
    /// Its time is over, or that of its bucket.
    Expired,
    /// It asks to be kept longer than the limit.
    TooLong,
    /// Its stamp is missing or weaker than asked for now.
    Stamp,
    /// Its signature does not hold.
    Signature,
    /// The quota is used up.
    Full,
    /// The inbox has all the entries it may have.
    InboxFull,
    /// Another ciphertext lies in that box.
    Conflict,
    /// The box was deleted.
    Buried,
    /// A newer prekey box is here.
    Stale,
    /// A deletion of what is not here.
    Absent,
    /// Too many expiry buckets.
    Buckets,
    /// Too much staged, or too many answers not yet taken.
    Busy,
    /// The store refused a batch a moment ago.
    StoreFailed,
}

impl DropReason {
    /// All reasons, in the order of their codes.
    pub const ALL: [Self; 15] = [
        Self::Malformed,
        Self::Epoch,
        Self::Expired,
        Self::TooLong,
        Self::Stamp,
        Self::Signature,
        Self::Full,
        Self::InboxFull,
        Self::Conflict,
        Self::Buried,
        Self::Stale,
        Self::Absent,
        Self::Buckets,
        Self::Busy,
        Self::StoreFailed,
    ];

    /// A stable name for metrics and logs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Epoch => "epoch",
            Self::Expired => "expired",
            Self::TooLong => "too_long",
            Self::Stamp => "stamp",
            Self::Signature => "signature",
            Self::Full => "full",
            Self::InboxFull => "inbox_full",
            Self::Conflict => "conflict",
            Self::Buried => "buried",
            Self::Stale => "stale",
            Self::Absent => "absent",
            Self::Buckets => "buckets",
            Self::Busy => "busy",
            Self::StoreFailed => "store_failed",
        }
    }
}

/// What was counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    pub(super) drops: [u64; DropReason::ALL.len()],
    /// Deposits that became durable.
    pub stored: u64,
    /// Deposits that were here already, with the same ciphertext.
    pub repeated: u64,
    /// Deletions that became durable.
    pub deleted: u64,
    /// Answers given, of every kind.
    pub answers: u64,
    /// Answers that a deposit gave to a fetch that waited.
    pub crossovers: u64,
    /// Fetches that gave way at a cap and were answered early.
    pub evicted: u64,
    /// Damaged records, found at the start or when read: skipped.
    pub corrupt: u64,
    /// Records found twice at the start (what a failed batch left): one was skipped.
    pub doubled: u64,
    /// Reads that the store failed.
    pub read_errors: u64,
    /// Batches that the store refused.
    pub failed_batches: u64,
    /// Expired buckets dropped.
    pub dropped_buckets: u64,
}

impl Counters {
    /// How many operations were dropped for this reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    /// All drops by reason.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL
            .into_iter()
            .map(|reason| (reason, self.dropped(reason)))
    }

    pub(super) fn drop(&mut self, reason: DropReason) {
        self.drops[reason as usize] += 1;
    }
}
