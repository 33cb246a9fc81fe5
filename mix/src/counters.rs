//! What a mixer counted, and the reasons for which it dropped packets. Counters never tell cover from payload: a relay cannot
//! know, and what the last hop knows stays out of here. SPEC.md §9.

/// Why a packet was dropped. The sender never learns which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DropReason {
    /// The version byte is not this network's.
    Version,
    /// Alpha is the identity or not the one encoding of a group element.
    Alpha,
    /// No usable mix key opens the header: altered, for another relay, network or epoch, or expired.
    Mac,
    /// The routing block holds an unknown command.
    Command,
    /// The routing block holds an unknown class or unknown flag bits.
    Flags,
    /// The next hop is this node itself.
    NextIsSelf,
    /// The payload's zero tag is not zero: altered on the way.
    Payload,
    /// The tag was seen under this key before.
    Replay,
    /// The key's replay set is full: the intake is closed until the key ends.
    ReplayFull,
    /// Too many tags wait to be fetched for the disk: the intake is closed until they are.
    TagsBacklog,
    /// The delay exceeds the cap.
    OverCapDelay,
    /// Shed from the full pool, chosen uniformly.
    PoolFull,
    /// Shed from the full transmit queue, chosen uniformly.
    TransmitFull,
    /// Shed from the full event queue, chosen uniformly.
    EventsFull,
}

impl DropReason {
    /// All reasons, in the order in which they are counted.
    pub const ALL: [Self; 14] = [
        Self::Version,
        Self::Alpha,
        Self::Mac,
        Self::Command,
        Self::Flags,
        Self::NextIsSelf,
        Self::Payload,
        Self::Replay,
        Self::ReplayFull,
        Self::TagsBacklog,
        Self::OverCapDelay,
        Self::PoolFull,
        Self::TransmitFull,
        Self::EventsFull,
    ];

    /// A stable name for reports, in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Alpha => "alpha",
            Self::Mac => "mac",
            Self::Command => "command",
            Self::Flags => "flags",
            Self::NextIsSelf => "next_is_self",
            Self::Payload => "payload",
            Self::Replay => "replay",
            Self::ReplayFull => "replay_full",
            Self::TagsBacklog => "tags_backlog",
            Self::OverCapDelay => "over_cap_delay",
            Self::PoolFull => "pool_full",
            Self::TransmitFull => "transmit_full",
            Self::EventsFull => "events_full",
        }
    }
}

/// What one mixer counted since it was made. All counts are of packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Handed in by links.
    pub received: u64,
    /// Accepted to be passed on: authentic, new, pooled.
    pub relayed: u64,
    /// Accepted with this node as their last hop, cover included.
    pub ended: u64,
    /// Fresh packets of our own.
    pub sent: u64,
    /// Crossover packets put into the pool.
    pub held: u64,
    /// Handed to links.
    pub transmitted: u64,
    /// Left the pool later than drawn because their tag was not yet synced. Anything but a small share says that the disk is
    /// slower than the hold S.
    pub late: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl Counters {
    /// How many packets were dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Every reason with its count, in a fixed order.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL
            .into_iter()
            .map(|reason| (reason, self.dropped(reason)))
    }

    /// How many packets were dropped for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    pub(crate) fn drop_one(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_name() {
        let mut counters = Counters::default();
        for (place, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
            for _ in 0..=place {
                counters.drop_one(reason);
            }
        }
        let counts: Vec<u64> = counters.drops().map(|(_, n)| n).collect();
        assert_eq!(counts, (1..=14).collect::<Vec<u64>>());
        let mut names: Vec<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::ALL.len());
    }
}
