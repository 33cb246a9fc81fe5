//! The omission: a witness signed a set without a beat that it had said to hold in time, though nothing excused it. SPEC.md §19.
//!
//! Only a ban excuses a missing beat, and every ban stands in the header's list; so the proof also shows that the beat's owner is
//! not on that list.

use super::{Receipt, SignedVote, receipt::RECEIPT_LEN};
use crate::{
    bans::NotBanned,
    committee::Presence,
    counters::DropReason,
    descriptor::SIGNATURE_LEN,
    directory::{Absence, Directory, Header},
    id::{NodeId, short_id},
    network::NetworkParams,
    wire::Reader,
};

/// A receipt, the vote that breaks it, and proof that the signed set neither lists nor bans the beat's owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Omission {
    pub(crate) witness: NodeId,
    receipt: Receipt,
    pub(super) header: Header,
    presence: Presence,
    pub(super) vote: [u8; SIGNATURE_LEN],
    pub(super) absence: Absence,
    pub(super) not_banned: NotBanned,
}

impl Omission {
    /// Puts a proof together; `None` if the directory lists or bans the beat's owner, or the vote is for another root.
    pub fn of(
        witness: NodeId,
        receipt: &Receipt,
        directory: &Directory,
        vote: &SignedVote,
    ) -> Option<Self> {
        if vote.root() != directory.root() || vote.epoch() != directory.epoch() {
            return None;
        }
        let mut presence = [0; Presence::LEN];
        presence.copy_from_slice(&vote.said[36..]);
        Some(Self {
            witness,
            receipt: *receipt,
            header: *directory.header(),
            presence: Presence::from_bytes(presence),
            vote: vote.signature,
            absence: directory.prove_absence(&receipt.owner)?,
            not_banned: directory.bans().prove_absence(&receipt.owner)?,
        })
    }

    /// The receipt that was broken.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Checks everything; gives the epoch.
    pub(super) fn verify(&self, params: &NetworkParams) -> Result<u32, DropReason> {
        let network = params.id();
        let owner = self.receipt.owner;
        let proved = self.header.params == network
            && self.header.epoch == self.receipt.epoch
            && short_id(&network, &self.witness) == self.receipt.witness
            && self.receipt.good(params)
            && self.absence.verify(&self.header, &owner)
            && self.not_banned.verify(&self.header.bans, &owner);
        if !proved {
            return Err(DropReason::Malformed);
        }
        self.receipt.verify(&network, &self.witness)?;
        let mut said = [0; super::SAID_LEN];
        said[..4].copy_from_slice(&self.header.epoch.to_le_bytes());
        said[4..36].copy_from_slice(&self.header.root());
        said[36..].copy_from_slice(&self.presence.to_bytes());
        let vote = SignedVote {
            said,
            signature: self.vote,
        };
        vote.holds(&network, &self.witness)?;
        Ok(self.header.epoch)
    }

    /// After the culprit: receipt 141 ‖ header 204 ‖ committee 21 ‖ vote's signature 64 ‖ absence ‖ not banned.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.receipt.to_bytes());
        out.extend_from_slice(&self.header.to_bytes());
        out.extend_from_slice(&self.presence.to_bytes());
        out.extend_from_slice(&self.vote);
        self.absence.encode(out);
        self.not_banned.encode(out);
    }

    pub(super) fn decode(witness: NodeId, reader: &mut Reader<'_>) -> Option<Self> {
        let receipt = Receipt::decode(reader.bytes(RECEIPT_LEN)?).ok()?;
        let header = Header::from_bytes(&reader.array()?)?;
        Some(Self {
            witness,
            receipt,
            presence: Presence::from_bytes(reader.array()?),
            vote: reader.array()?,
            absence: Absence::decode(reader, &header)?,
            not_banned: NotBanned::decode(reader)?,
            header,
        })
    }
}
