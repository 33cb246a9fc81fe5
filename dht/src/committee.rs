//! Who witnesses an epoch: the candidates that the directory before it named, and those of them that are there.
//!
//! A certified header commits to the candidates of the next epoch; the committee is the first 128 of them whose beat is in the
//! epoch's set. Whoever has the candidates can check a certificate without the set. Holds [`Candidates`], [`Presence`] (which of
//! them a set has) and [`Committee`] (quorum, order of proposers). SPEC.md §16 says why these numbers.

use crate::{
    counters::DropReason,
    directory::Directory,
    id::{NodeId, derive, short_id},
    vrf::VrfPublic,
    weights,
    wire::Reader,
};
use mix::{NetworkId, ShortId};
use std::collections::BTreeSet;

mod turns;

pub use turns::{view_at, view_start};

/// Most candidates of an epoch.
pub const MAX_CANDIDATES: usize = 168;
/// Most witnesses of an epoch.
pub const MAX_COMMITTEE: usize = 128;
/// Fewer witnesses certify nothing: below four a single liar is too many.
pub const MIN_COMMITTEE: usize = 4;
/// For this many epochs without a certificate the last certified candidates stay; after it, those of one's own last set.
pub const HANDOVER: u32 = 3;
/// Longest list of candidates, in bytes: below the 16 KiB of a Kademlia message.
pub const MAX_CANDIDATES_LEN: usize = 1 + 1 + MAX_CANDIDATES * 64;

const VERSION: u8 = 1;
const PRESENCE_LEN: usize = MAX_CANDIDATES / 8;

/// A node that may witness.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Its identity: the key of its votes.
    pub node: NodeId,
    /// Its name.
    pub short: ShortId,
    /// Its VRF key, known to be usable.
    pub vrf_key: [u8; 32],
}

/// The candidates of an epoch in their order, at most 168.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Candidates {
    list: Vec<Candidate>,
}

impl Candidates {
    /// Draws the candidates of `epoch` from a directory: of the nodes grown up as witnesses, of weight above zero and with a
    /// usable VRF key, those lowest in `derive("committee", seed ‖ epoch ‖ short id)`.
    ///
    /// `epoch` is the one after the directory's; at genesis, where nothing comes before, its own.
    pub fn draw(directory: &Directory, epoch: u32) -> Self {
        let params = directory.params();
        let seed = directory.header().seed;
        let mut order: Vec<_> = directory
            .nodes()
            .filter(|entry| {
                entry.capability().weight() > 0
                    && entry.descriptor().can_witness()
                    && weights::mature_witness(params, entry.standing().age)
            })
            .map(|entry| {
                let parts: [&[u8]; 3] = [&seed, &epoch.to_le_bytes(), &entry.short().0];
                (derive("murmuration/v1/committee", &parts), entry)
            })
            .collect();
        order.sort_unstable_by_key(|(draw, _)| *draw);
        let list = order
            .into_iter()
            .map(|(_, entry)| Candidate {
                node: entry.node(),
                short: entry.short(),
                vrf_key: entry.descriptor().fields().vrf_key,
            })
            .take(MAX_CANDIDATES)
            .collect();
        Self { list }
    }

    /// What a header says of the next epoch's: `derive("committee-list", (node id ‖ VRF key) of each)`.
    pub fn hash(&self) -> [u8; 32] {
        derive("murmuration/v1/committee-list", &[&self.body()])
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Candidate> {
        self.list.iter()
    }

    /// The candidate with this short id.
    pub fn by_short(&self, short: &ShortId) -> Option<&Candidate> {
        self.list.iter().find(|candidate| candidate.short == *short)
    }

    /// The wire bytes: version 1 ‖ count 1 ‖ (node id 32 ‖ VRF key 32) of each.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.list.len() as u8];
        out.extend_from_slice(&self.body());
        out
    }

    /// Reads the wire bytes. Whether they are the candidates of a header is for [`hash`](Self::hash) to say.
    ///
    /// # Errors
    /// [`DropReason::Malformed`], [`DropReason::Version`] or, for an unusable VRF key, [`DropReason::Key`].
    pub fn decode(network: &NetworkId, bytes: &[u8]) -> Result<Self, DropReason> {
        if bytes.first().is_some_and(|version| *version != VERSION) {
            return Err(DropReason::Version);
        }
        let mut reader = Reader::new(bytes);
        let count = reader.array::<2>().ok_or(DropReason::Malformed)?[1];
        let count = usize::from(count);
        if count > MAX_CANDIDATES || bytes.len() != 2 + count * 64 {
            return Err(DropReason::Malformed);
        }
        let mut list = Vec::with_capacity(count);
        let mut seen = BTreeSet::new();
        for _ in 0..count {
            let node = NodeId(reader.array().ok_or(DropReason::Malformed)?);
            let vrf_key = reader.array().ok_or(DropReason::Malformed)?;
            if !seen.insert(node) {
                return Err(DropReason::Malformed);
            }
            VrfPublic::from_bytes(&vrf_key).ok_or(DropReason::Key)?;
            list.push(Candidate {
                node,
                short: short_id(network, &node),
                vrf_key,
            });
        }
        Ok(Self { list })
    }

    fn body(&self) -> Vec<u8> {
        let pairs = self.list.iter();
        pairs
            .flat_map(|candidate| [candidate.node.0, candidate.vrf_key])
            .flatten()
            .collect()
    }
}

/// Which candidates are the committee of a set, 21 B: bit i (of byte i / 8, lowest first) is candidate i. Every vote says it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Presence(pub(crate) [u8; PRESENCE_LEN]);

impl Presence {
    /// Bytes on the wire.
    pub const LEN: usize = PRESENCE_LEN;

    /// The wire bytes.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        self.0
    }

    /// Takes wire bytes as they are; [`Committee::new`] checks them against the candidates.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

/// The witnesses of one epoch, in the order of the candidates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committee {
    presence: Presence,
    candidates: usize,
    members: Vec<Candidate>,
}

impl Committee {
    /// The first 128 candidates that are in the set.
    pub fn of(candidates: &Candidates, present: impl Fn(&ShortId) -> bool) -> Self {
        let mut presence = Presence::default();
        let mut members = Vec::new();
        for (i, candidate) in candidates.iter().enumerate() {
            if members.len() < MAX_COMMITTEE && present(&candidate.short) {
                presence.0[i / 8] |= 1 << (i % 8);
                members.push(*candidate);
            }
        }
        Self {
            presence,
            candidates: candidates.len(),
            members,
        }
    }

    /// The committee that a certificate claims; `None` if it names candidates that don't exist or more than 128.
    pub fn new(candidates: &Candidates, presence: Presence) -> Option<Self> {
        let ones: usize = presence.0.iter().map(|b| b.count_ones() as usize).sum();
        let members: Vec<_> = candidates
            .iter()
            .enumerate()
            .filter(|(i, _)| presence.0[i / 8] >> (i % 8) & 1 == 1)
            .map(|(_, candidate)| *candidate)
            .collect();
        (members.len() == ones && ones <= MAX_COMMITTEE).then_some(Self {
            presence,
            candidates: candidates.len(),
            members,
        })
    }

    /// Which candidates they are.
    pub fn presence(&self) -> Presence {
        self.presence
    }

    /// The witnesses.
    pub fn members(&self) -> &[Candidate] {
        &self.members
    }

    /// Where a witness stands in the committee.
    pub fn position_of(&self, short: &ShortId) -> Option<usize> {
        self.members
            .iter()
            .position(|member| member.short == *short)
    }

    /// How many must sign: more than two thirds of the committee and more than half of the candidates. `None` if so few are
    /// there that they can't certify anything.
    pub fn quorum(&self) -> Option<usize> {
        quorum(self.candidates, self.members.len())
    }

    /// The witness whose turn it is to propose in a view: the committee sorted by `derive("proposer", seed ‖ short id)`, each
    /// once.
    pub fn proposer(&self, seed: &[u8; 32], view: u8) -> Option<&Candidate> {
        let mut order: Vec<_> = self
            .members
            .iter()
            .map(|member| {
                let parts: [&[u8]; 2] = [seed, &member.short.0];
                (derive("murmuration/v1/proposer", &parts), member)
            })
            .collect();
        order.sort_unstable_by_key(|(draw, _)| *draw);
        Some(order.get(usize::from(view))?.1)
    }
}

/// How many of `committee` witnesses must sign, drawn from `candidates`; `None` if there are too few.
pub fn quorum(candidates: usize, committee: usize) -> Option<usize> {
    let needed = (2 * committee / 3 + 1).max(candidates / 2 + 1);
    (committee >= MIN_COMMITTEE && needed <= committee).then_some(needed)
}

/// Whether the candidates of the last certified header, of epoch `certified`, still hold for `epoch`; if not, those drawn from
/// one's own set of the epoch before do.
pub fn handed_over(certified: u32, epoch: u32) -> bool {
    epoch > certified && epoch - certified <= HANDOVER
}

#[cfg(test)]
mod tests;
