//! The certificate: proof that a quorum of witnesses signed one root. And the votes and proposals it comes from.
//!
//! Holds [`Proposal`], [`Vote`] and [`Certificate`], their one encoding each and their checks, and [`Chain`], by which a newcomer
//! follows certificates from a checkpoint. Whether a set is the right one to vote for is `pki`'s business: build it and compare.
//! SPEC.md §17.

use crate::{
    committee::{Candidates, Committee, Presence},
    counters::DropReason,
    descriptor::{SIGNATURE_LEN, verify_strict},
    directory::Header,
    fault::SignedVote,
    id::{NodeId, derive},
    vrf::{self, Output, Proof, VrfPublic},
    wire::Reader,
};
use mix::NetworkId;

mod chain;
mod proposal;
mod vote;

pub use chain::{Chain, ChainError};
pub use proposal::{PROPOSAL_LEN, Proposal};
pub(crate) use vote::{VOTE_CONTEXT, vote_body};
pub use vote::{VOTE_LEN, Vote};

/// Most signatures of a certificate: the quorum of the largest committee.
pub const MAX_SIGNERS: usize = 86;
/// Longest certificate, in bytes.
pub const MAX_LEN: usize = HEAD_LEN + MAX_SIGNERS * SIGNATURE_LEN;

const VERSION: u8 = 1;
const SIGNERS_LEN: usize = 16;
const HEAD_LEN: usize = 1 + Header::LEN + Presence::LEN + SIGNERS_LEN + 1 + vrf::PROOF_LEN;

/// Why a certificate doesn't hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Of another network.
    #[error("the certificate is of another network")]
    Network,
    /// The committee it claims is none of these candidates, or too small to certify.
    #[error("the certificate claims no committee that can certify")]
    Committee,
    /// Not exactly the quorum signed, or someone outside the committee.
    #[error("the certificate has not the signers of a quorum")]
    Signers,
    /// A signature fails.
    #[error("a signature of the certificate fails")]
    Signature,
    /// The proof of the lowest output fails.
    #[error("the certificate's random output is not proved")]
    Vrf,
}

/// A header, who was there to witness it, and the signatures of exactly a quorum of them.
///
/// The leader is the signer with the lowest VRF output of all votes known to whoever assembled it: that output alone makes a
/// later seed. Everything is checked by [`verify`](Self::verify) but for that "lowest": only who holds the votes can tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    header: Header,
    presence: Presence,
    /// Bit i (of byte i / 8, lowest first): member i of the committee signed.
    signers: [u8; SIGNERS_LEN],
    leader: u8,
    proof: Proof,
    signatures: Vec<[u8; SIGNATURE_LEN]>,
}

impl Certificate {
    /// Assembles a certificate from votes that were verified before; `None` if fewer than a quorum are for this header and
    /// committee. The same votes give the same certificate, in any order.
    pub fn assemble<'a>(
        header: &Header,
        committee: &Committee,
        votes: impl IntoIterator<Item = &'a Vote>,
    ) -> Option<Self> {
        let quorum = committee.quorum()?;
        let root = header.root();
        let mut cast: Vec<Option<&Vote>> = vec![None; committee.members().len()];
        for vote in votes {
            let fits = vote.epoch() == header.epoch
                && vote.root() == root
                && vote.presence() == committee.presence();
            let place = committee.position_of(&vote.witness()).filter(|_| fits);
            // A witness may sign its vote many times over; take the same one whatever the order.
            if let Some(slot) = place.and_then(|i| cast.get_mut(i)) {
                let newer = slot.is_none_or(|held| vote.as_bytes() < held.as_bytes());
                if newer {
                    *slot = Some(vote);
                }
            }
        }
        let held: Vec<_> = cast
            .iter()
            .enumerate()
            .filter_map(|(i, vote)| Some((i, (*vote)?)))
            .collect();
        let lowest = held
            .iter()
            .min_by_key(|(i, vote)| (vote.proof().output_unchecked(), *i))?;
        if held.len() < quorum {
            return None;
        }
        let others = held.iter().filter(|(i, _)| *i != lowest.0);
        let mut chosen: Vec<_> = others.take(quorum - 1).chain([lowest]).collect();
        chosen.sort_unstable_by_key(|(i, _)| *i);
        let mut signers = [0; SIGNERS_LEN];
        for (i, _) in &chosen {
            signers[i / 8] |= 1 << (i % 8);
        }
        Some(Self {
            header: *header,
            presence: committee.presence(),
            signers,
            leader: u8::try_from(lowest.0).ok()?,
            proof: *lowest.1.proof(),
            signatures: chosen.iter().map(|(_, vote)| *vote.signature()).collect(),
        })
    }

    /// Checks everything that can be checked without the votes: the committee it claims among the candidates, its quorum, every
    /// signature, and that the leader's output is the leader's. Cheapest first.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn verify(
        &self,
        network: &NetworkId,
        candidates: &Candidates,
    ) -> Result<Output, CertificateError> {
        if self.header.params != *network {
            return Err(CertificateError::Network);
        }
        let committee =
            Committee::new(candidates, self.presence).ok_or(CertificateError::Committee)?;
        let quorum = committee.quorum().ok_or(CertificateError::Committee)?;
        let members = committee.members();
        let signed = |i: usize| {
            let byte = self.signers.get(i / 8).copied().unwrap_or_default();
            byte >> (i % 8) & 1 == 1
        };
        let inside: Vec<_> = (0..members.len()).filter(|i| signed(*i)).collect();
        let leader = usize::from(self.leader);
        let exact = inside.len() == quorum && self.signatures.len() == quorum;
        if !exact || ones(&self.signers) != quorum || !signed(leader) {
            return Err(CertificateError::Signers);
        }
        let key = members
            .get(leader)
            .and_then(|member| VrfPublic::from_bytes(&member.vrf_key))
            .ok_or(CertificateError::Vrf)?;
        let input = vrf::input(network, &self.header.seed, self.header.epoch);
        let output = self
            .proof
            .verify(&key, &input)
            .ok_or(CertificateError::Vrf)?;
        let body = vote_body(self.header.epoch, &self.header.root(), self.presence);
        for (i, signature) in inside.iter().zip(&self.signatures) {
            verify_strict(VOTE_CONTEXT, network, &members[*i].node, &body, signature)
                .map_err(|_| CertificateError::Signature)?;
        }
        Ok(output)
    }

    /// The header that was signed.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Its epoch.
    pub fn epoch(&self) -> u32 {
        self.header.epoch
    }

    /// Which candidates it claims to be the committee. Who has the set compares this with the [`Committee`] of the set.
    pub fn presence(&self) -> Presence {
        self.presence
    }

    /// The leader's output, proved by [`verify`](Self::verify). A witness that held a vote for this root with a lower output before
    /// the guard of the next epoch doesn't vote for a header that commits to this certificate.
    pub fn output(&self) -> Output {
        self.proof.output_unchecked()
    }

    /// What it gives to a later seed: `derive("vrf-mix", lowest output)`.
    pub fn mix(&self) -> [u8; 32] {
        derive("murmuration/v1/vrf-mix", &[&self.output().0])
    }

    /// What the next header commits to: `derive("certificate", bytes)`.
    pub fn hash(&self) -> [u8; 32] {
        derive("murmuration/v1/certificate", &[&self.encode()])
    }

    /// What each signer said, with its signature; `None` unless the committee is one of these candidates. Means nothing before
    /// [`verify`](Self::verify) with the same ones.
    pub fn signed_votes(&self, candidates: &Candidates) -> Option<Vec<(NodeId, SignedVote)>> {
        let committee = Committee::new(candidates, self.presence)?;
        let body = vote_body(self.header.epoch, &self.header.root(), self.presence);
        let signed = |i: usize| {
            let byte = self.signers.get(i / 8).copied().unwrap_or_default();
            byte >> (i % 8) & 1 == 1
        };
        let members = committee.members().iter().enumerate();
        let signers = members.filter(|(i, _)| signed(*i));
        let votes = signers.zip(&self.signatures);
        Some(
            votes
                .map(|((_, member), signature)| (member.node, SignedVote::new(&body, *signature)))
                .collect(),
        )
    }

    /// The wire bytes: version 1 ‖ header 204 ‖ committee 21 ‖ signers 16 ‖ leader 1 ‖ proof 80 ‖ signatures 64 each.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_LEN + self.signatures.len() * SIGNATURE_LEN);
        out.push(VERSION);
        out.extend_from_slice(&self.header.to_bytes());
        out.extend_from_slice(&self.presence.to_bytes());
        out.extend_from_slice(&self.signers);
        out.push(self.leader);
        out.extend_from_slice(self.proof.as_bytes());
        for signature in &self.signatures {
            out.extend_from_slice(signature);
        }
        out
    }

    /// Reads the wire bytes, without checking what they claim.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] or [`DropReason::Version`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DropReason> {
        if bytes.len() > MAX_LEN {
            return Err(DropReason::Malformed);
        }
        if bytes.first().is_some_and(|version| *version != VERSION) {
            return Err(DropReason::Version);
        }
        parse(bytes).ok_or(DropReason::Malformed)
    }
}

fn ones(bits: &[u8]) -> usize {
    bits.iter().map(|byte| byte.count_ones() as usize).sum()
}

fn parse(bytes: &[u8]) -> Option<Certificate> {
    let mut reader = Reader::new(bytes);
    reader.u8()?;
    let header = Header::from_bytes(&reader.array()?)?;
    let presence = Presence::from_bytes(reader.array()?);
    let signers = reader.array()?;
    let leader = reader.u8()?;
    let proof = Proof::from_bytes(reader.array()?);
    let count = ones(&signers);
    if count == 0 || count > MAX_SIGNERS {
        return None;
    }
    let signatures = (0..count).map(|_| reader.array()).collect::<Option<_>>()?;
    reader.end()?;
    Some(Certificate {
        header,
        presence,
        signers,
        leader,
        proof,
        signatures,
    })
}

#[cfg(test)]
mod tests;
