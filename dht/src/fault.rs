//! Proofs that a node lied: they hold by themselves, whoever brings them, and keep the node out by rule.
//!
//! Holds [`Fault`] (two beats, two votes, two proposals, an omission) and [`Receipt`], the promise that an omission breaks. Each
//! names its culprit by key and verifies against the network's parameters alone. What follows from them is in `bans`. SPEC.md §19.

use crate::{
    bans::Offence,
    beat::{BEAT_LEN, Beat},
    certificate::{Certificate, PROPOSAL_LEN, Proposal, VOTE_CONTEXT},
    committee::{Candidates, Presence},
    counters::DropReason,
    descriptor::{SIGNATURE_LEN, verify_strict},
    id::{NodeId, derive, short_id},
    network::NetworkParams,
    wire::Reader,
};

mod omission;
mod receipt;

pub use omission::Omission;
pub use receipt::{RECEIPT_LEN, Receipt};

/// Longest proof, in bytes.
pub const MAX_FAULT_LEN: usize = 2_250;
/// Signed part of a vote without its version: epoch 4 ‖ root 32 ‖ committee 21.
const SAID_LEN: usize = 4 + 32 + Presence::LEN;

const VERSION: u8 = 1;

/// A proven fault. Holding one means nothing before [`verify`](Self::verify).
// Held by the dozen, for days: not worth a box.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Two different beats of one node for one epoch.
    Beats {
        /// Who signed both.
        culprit: NodeId,
        /// Ordered by their bytes.
        beats: [Beat; 2],
    },
    /// Two different votes of one node in one epoch.
    Votes {
        /// Who signed both.
        culprit: NodeId,
        /// Ordered by their bytes.
        votes: [SignedVote; 2],
    },
    /// Two different proposals of one node in one epoch and view.
    Proposals {
        /// Who signed both.
        culprit: NodeId,
        /// Ordered by their bytes.
        proposals: [Proposal; 2],
    },
    /// A vote for a set that lacks a beat which the witness had said to hold.
    Omission(Box<Omission>),
}

/// What a vote says, and its signature: a vote without its VRF proof, which nobody signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignedVote {
    /// Epoch 4 ‖ root 32 ‖ committee 21.
    pub(crate) said: [u8; SAID_LEN],
    pub(crate) signature: [u8; SIGNATURE_LEN],
}

impl SignedVote {
    /// The signed part of a vote.
    pub fn of(vote: &crate::certificate::Vote) -> Self {
        Self::new(vote.as_bytes(), *vote.signature())
    }

    /// Of a vote's bytes or its signed part, which begin alike.
    pub(crate) fn new(body: &[u8], signature: [u8; SIGNATURE_LEN]) -> Self {
        let mut said = [0; SAID_LEN];
        said.copy_from_slice(&body[1..=SAID_LEN]);
        Self { said, signature }
    }

    fn epoch(&self) -> u32 {
        let mut epoch = [0; 4];
        epoch.copy_from_slice(&self.said[..4]);
        u32::from_le_bytes(epoch)
    }

    fn root(&self) -> &[u8] {
        &self.said[4..36]
    }

    fn holds(&self, params_id: &mix::NetworkId, signer: &NodeId) -> Result<(), DropReason> {
        let mut body = vec![1];
        body.extend_from_slice(&self.said);
        verify_strict(VOTE_CONTEXT, params_id, signer, &body, &self.signature)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.said);
        out.extend_from_slice(&self.signature);
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            said: reader.array()?,
            signature: reader.array()?,
        })
    }
}

impl Fault {
    /// Two beats that contradict each other, in either order; `None` if they say the same or are of different nodes or epochs.
    pub fn of_beats(culprit: NodeId, a: &Beat, b: &Beat) -> Option<Self> {
        let mut beats = [a.clone(), b.clone()];
        beats.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        let fault = Self::Beats { culprit, beats };
        fault.contradicts().then_some(fault)
    }

    /// Two votes that contradict each other, in either order.
    pub fn of_votes(culprit: NodeId, a: SignedVote, b: SignedVote) -> Option<Self> {
        let mut votes = [a, b];
        votes.sort_by_key(|vote| vote.said);
        let fault = Self::Votes { culprit, votes };
        fault.contradicts().then_some(fault)
    }

    /// Everyone who signed both of two certificates, verified before with these candidates, that say different things about one
    /// epoch: by the rule of the quorum never nobody (SPEC.md §16).
    pub fn of_certificates(a: &Certificate, b: &Certificate, candidates: &Candidates) -> Vec<Self> {
        let votes = |one: &Certificate| one.signed_votes(candidates).unwrap_or_default();
        let theirs = votes(b);
        let both = votes(a).into_iter().filter_map(|(node, vote)| {
            let (_, other) = theirs.iter().find(|(other, _)| *other == node)?;
            Self::of_votes(node, vote, *other)
        });
        both.collect()
    }

    /// Two proposals that contradict each other, in either order.
    pub fn of_proposals(culprit: NodeId, a: &Proposal, b: &Proposal) -> Option<Self> {
        let mut proposals = [*a, *b];
        proposals.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        let fault = Self::Proposals { culprit, proposals };
        fault.contradicts().then_some(fault)
    }

    /// Whether the two halves can't both be honest, and stand in their one order.
    fn contradicts(&self) -> bool {
        match self {
            Self::Beats { beats: [a, b], .. } => {
                a.epoch() == b.epoch() && a.short_id() == b.short_id() && a.body() < b.body()
            }
            Self::Votes { votes: [a, b], .. } => a.epoch() == b.epoch() && a.said < b.said,
            Self::Proposals {
                proposals: [a, b], ..
            } => {
                let (left, right) = (a.header(), b.header());
                a.view() == b.view()
                    && left.epoch == right.epoch
                    && left.cell == right.cell
                    && left.to_bytes() < right.to_bytes()
            }
            Self::Omission(_) => true,
        }
    }

    /// Checks that the fault is proved: everything signed by the culprit, and contradictory. What comes out goes to
    /// [`Bans::next`](crate::bans::Bans::next).
    ///
    /// # Errors
    /// [`DropReason::Signature`] if a signature fails, [`DropReason::Malformed`] if it proves nothing.
    pub fn verify(&self, params: &NetworkParams) -> Result<Offence, DropReason> {
        let network = params.id();
        if !self.contradicts() {
            return Err(DropReason::Malformed);
        }
        let epoch = match self {
            Self::Beats { culprit, beats } => {
                for beat in beats {
                    beat.verify(&network, culprit)?;
                }
                beats[0].epoch()
            }
            Self::Votes { culprit, votes } => {
                for vote in votes {
                    vote.holds(&network, culprit)?;
                }
                votes[0].epoch()
            }
            Self::Proposals { culprit, proposals } => {
                for proposal in proposals {
                    proposal.verify(&network, culprit)?;
                }
                proposals[0].header().epoch
            }
            Self::Omission(omission) => omission.verify(params)?,
        };
        Ok(Offence {
            culprit: short_id(&network, &self.culprit()),
            epoch,
        })
    }

    /// Whom it accuses.
    pub fn culprit(&self) -> NodeId {
        match self {
            Self::Beats { culprit, .. }
            | Self::Votes { culprit, .. }
            | Self::Proposals { culprit, .. } => *culprit,
            Self::Omission(omission) => omission.witness,
        }
    }

    /// The epoch it is about, as far as its words go.
    pub fn epoch(&self) -> u32 {
        match self {
            Self::Beats { beats, .. } => beats[0].epoch(),
            Self::Votes { votes, .. } => votes[0].epoch(),
            Self::Proposals { proposals, .. } => proposals[0].header().epoch,
            Self::Omission(omission) => omission.header.epoch,
        }
    }

    /// Names the proof in gossip and reconciliation: `derive("fault", bytes)`.
    pub fn hash(&self) -> [u8; 32] {
        derive("murmuration/v1/fault", &[&self.encode()])
    }

    /// The wire bytes: version 1 ‖ kind 1 ‖ culprit 32 ‖ what it said twice, the lower first.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.kind()];
        out.extend_from_slice(&self.culprit().0);
        match self {
            Self::Beats { beats, .. } => {
                beats
                    .iter()
                    .for_each(|b| out.extend_from_slice(b.as_bytes()));
            }
            Self::Votes { votes, .. } => votes.iter().for_each(|vote| vote.encode(&mut out)),
            Self::Proposals { proposals, .. } => {
                proposals
                    .iter()
                    .for_each(|p| out.extend_from_slice(p.as_bytes()));
            }
            Self::Omission(omission) => omission.encode(&mut out),
        }
        out
    }

    /// Reads the wire bytes, without checking a signature.
    ///
    /// # Errors
    /// [`DropReason::Malformed`], [`DropReason::Version`] or [`DropReason::Key`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DropReason> {
        if bytes.len() > MAX_FAULT_LEN {
            return Err(DropReason::Malformed);
        }
        if bytes.first().is_some_and(|version| *version != VERSION) {
            return Err(DropReason::Version);
        }
        let fault = Self::parse(bytes).ok_or(DropReason::Malformed)??;
        if fault.contradicts() {
            Ok(fault)
        } else {
            Err(DropReason::Malformed)
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Beats { .. } => 1,
            Self::Votes { .. } => 2,
            Self::Proposals { .. } => 3,
            Self::Omission(_) => 4,
        }
    }

    fn parse(bytes: &[u8]) -> Option<Result<Self, DropReason>> {
        let mut reader = Reader::new(bytes);
        reader.u8()?;
        let kind = reader.u8()?;
        let culprit = NodeId(reader.array()?);
        let fault = match kind {
            1 => {
                let (a, b) = (reader.bytes(BEAT_LEN)?, reader.bytes(BEAT_LEN)?);
                Beat::decode(a)
                    .and_then(|a| Ok([a, Beat::decode(b)?]))
                    .map(|beats| Self::Beats { culprit, beats })
            }
            2 => Ok(Self::Votes {
                culprit,
                votes: [
                    SignedVote::decode(&mut reader)?,
                    SignedVote::decode(&mut reader)?,
                ],
            }),
            3 => {
                let (a, b) = (reader.bytes(PROPOSAL_LEN)?, reader.bytes(PROPOSAL_LEN)?);
                Proposal::decode(a)
                    .and_then(|a| Ok([a, Proposal::decode(b)?]))
                    .map(|proposals| Self::Proposals { culprit, proposals })
            }
            4 => Ok(Self::Omission(Box::new(Omission::decode(
                culprit,
                &mut reader,
            )?))),
            _ => return None,
        };
        reader.end()?;
        Some(fault)
    }
}

#[cfg(test)]
mod tests;
