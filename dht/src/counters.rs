//! What became of the bytes of strangers, in numbers.
//!
//! Holds [`DropReason`], [`Verdict`] and [`Counters`]. No reason ever reaches a peer, and no counter names one.

/// Why bytes of a peer were dropped. Only counted; the peer learns nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum DropReason {
    /// Not the canonical encoding of anything we know.
    Malformed,
    /// A version byte we don't speak.
    Version,
    /// A signature that does not verify strictly under the claimed id.
    Signature,
    /// A point that is not a usable mix key.
    Key,
    /// Made for another network or cell.
    Network,
    /// A beat for an epoch that is over or not yet open.
    Epoch,
    /// A descriptor that has expired, is not yet valid or claims too long a life.
    Validity,
    /// A descriptor older than the one we hold.
    Outdated,
    /// More changes of one descriptor in one epoch than allowed.
    Churn,
    /// A second, different beat of one id and epoch.
    Equivocation,
    /// A cap is reached.
    Full,
    /// A lookup answer nobody asked for, or one that doesn't belong to its key.
    Unwanted,
    /// A request to reconcile beyond what one peer, or all together, may ask.
    Budget,
    /// A proposal, vote or certificate of those who, as far as we know, are no witnesses of its epoch.
    Witness,
    /// A descriptor without the work that the network asks for.
    Admission,
}

impl DropReason {
    /// All reasons, in the order of the counters.
    pub const ALL: [Self; 15] = [
        Self::Malformed,
        Self::Version,
        Self::Signature,
        Self::Key,
        Self::Network,
        Self::Epoch,
        Self::Validity,
        Self::Outdated,
        Self::Churn,
        Self::Equivocation,
        Self::Full,
        Self::Unwanted,
        Self::Budget,
        Self::Witness,
        Self::Admission,
    ];

    /// A stable snake-case name for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::Signature => "signature",
            Self::Key => "key",
            Self::Network => "network",
            Self::Epoch => "epoch",
            Self::Validity => "validity",
            Self::Outdated => "outdated",
            Self::Churn => "churn",
            Self::Equivocation => "equivocation",
            Self::Full => "full",
            Self::Unwanted => "unwanted",
            Self::Budget => "budget",
            Self::Witness => "witness",
            Self::Admission => "admission",
        }
    }

    /// Whether an honest peer could never have sent this, so that the gossip layer may hold it against the sender.
    ///
    /// Epochs and validity depend on clocks, equivocations and churn are the signer's doing, the rest are ours.
    pub fn blames_sender(self) -> bool {
        matches!(
            self,
            Self::Malformed | Self::Signature | Self::Key | Self::Admission
        )
    }
}

/// What gossip does with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Forward: it held something new and valid.
    Accept,
    /// Don't forward, hold nothing against anyone.
    Ignore,
    /// Don't forward; the sender could have known better.
    Reject,
}

/// Counts since the start. Cheap to copy.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counters {
    /// New descriptors taken in.
    pub descriptors: u64,
    /// New beats taken in.
    pub beats: u64,
    /// Records we held already (no signature was checked again).
    pub seen: u64,
    /// Beats put aside because their descriptor is unknown.
    pub parked: u64,
    /// Signatures checked.
    pub verified: u64,
    /// Head records and pages read from lookups.
    pub fetched: u64,
    /// Reconciliations of ours that ended with nothing left to say.
    pub synced: u64,
    /// Reconciliations of ours that ended early: nobody to ask, no answer, a bad one.
    pub sync_failed: u64,
    /// Requests of ours to reconcile.
    pub sync_rounds: u64,
    /// Requests of others that we answered.
    pub sync_answered: u64,
    /// Bytes of all of these that came.
    pub sync_in: u64,
    /// Bytes of all of these that went.
    pub sync_out: u64,
    /// New records that came with them.
    pub sync_records: u64,
    /// New proposals taken in, our own not counted.
    pub proposals: u64,
    /// New votes taken in, our own not counted.
    pub votes: u64,
    /// Epochs of which a certificate was made or came.
    pub certificates: u64,
    /// Epochs of which certificate and set are held.
    pub certified: u64,
    /// Epochs that began without.
    pub uncertified: u64,
    /// Proposals we made.
    pub proposed: u64,
    /// Votes we made.
    pub voted: u64,
    /// Proposals we would not vote for.
    pub refused: u64,
    /// Certified sets taken up without a past to check them by.
    pub adopted: u64,
    /// Proven faults taken in, our own proofs included.
    pub faults: u64,
    /// Proofs of omission that we made ourselves.
    pub omissions: u64,
    /// Receipts got for our beats.
    pub receipts: u64,
    /// Receipts given to others.
    pub receipts_given: u64,
    drops: [u64; DropReason::ALL.len()],
}

impl Counters {
    /// How often something was dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    pub(crate) fn drop(&mut self, reason: DropReason) {
        self.drops[reason as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_name() {
        let mut counters = Counters::default();
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            counters.drop(reason);
            assert_eq!(counters.dropped(reason), 1);
        }
        let mut names: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::ALL.len());
    }
}
