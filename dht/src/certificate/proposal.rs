//! The proposal: a witness whose turn it is names the header that the others shall sign. SPEC.md §17.

use crate::{
    committee::Committee,
    counters::DropReason,
    descriptor::{SIGNATURE_LEN, signed_message, verify_strict},
    directory::Header,
    id::{NodeId, short_id},
    wire::Reader,
};
use ed25519_dalek::{Signer, SigningKey};
use mix::{NetworkId, ShortId};

/// Bytes of a proposal.
pub const PROPOSAL_LEN: usize = BODY_LEN + SIGNATURE_LEN;

const BODY_LEN: usize = 1 + Header::LEN + 1 + 16;
const VERSION: u8 = 1;
const CONTEXT: &[u8] = b"murmuration/v1/proposal";

/// A header, the view it is proposed in and who proposes it: 286 B. A second one of the same proposer, epoch and view is a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proposal {
    header: Header,
    view: u8,
    proposer: ShortId,
    bytes: [u8; PROPOSAL_LEN],
}

impl Proposal {
    /// Signs a proposal. Make one per epoch and view, and keep it before it is sent.
    pub fn sign(network: &NetworkId, key: &SigningKey, header: &Header, view: u8) -> Self {
        let proposer = short_id(network, &NodeId(key.verifying_key().to_bytes()));
        let mut bytes = [0; PROPOSAL_LEN];
        bytes[0] = VERSION;
        bytes[1..205].copy_from_slice(&header.to_bytes());
        bytes[205] = view;
        bytes[206..BODY_LEN].copy_from_slice(&proposer.0);
        let signature = key.sign(&signed_message(CONTEXT, network, &bytes[..BODY_LEN]));
        bytes[BODY_LEN..].copy_from_slice(&signature.to_bytes());
        Self {
            header: *header,
            view,
            proposer,
            bytes,
        }
    }

    /// Reads a proposal, without checking whose it is.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] or [`DropReason::Version`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DropReason> {
        let bytes: [u8; PROPOSAL_LEN] = bytes.try_into().map_err(|_| DropReason::Malformed)?;
        if bytes[0] != VERSION {
            return Err(DropReason::Version);
        }
        parse(bytes).ok_or(DropReason::Malformed)
    }

    /// Checks network, signature and that the short id is the signer's. Not whose turn it is: see [`in_turn`](Self::in_turn).
    ///
    /// # Errors
    /// [`DropReason::Network`] or [`DropReason::Signature`].
    pub fn verify(&self, network: &NetworkId, signer: &NodeId) -> Result<(), DropReason> {
        if self.header.params != *network {
            return Err(DropReason::Network);
        }
        if short_id(network, signer) != self.proposer {
            return Err(DropReason::Signature);
        }
        let (body, signature) = self.bytes.split_at(BODY_LEN);
        verify_strict(CONTEXT, network, signer, body, signature)
    }

    /// Whether the proposer is the one whose turn it is in this view, by the seed of the epoch.
    pub fn in_turn(&self, committee: &Committee, seed: &[u8; 32]) -> bool {
        committee
            .proposer(seed, self.view)
            .is_some_and(|turn| turn.short == self.proposer)
    }

    /// The header proposed.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The view it is made in.
    pub fn view(&self) -> u8 {
        self.view
    }

    /// Who says to have made it.
    pub fn proposer(&self) -> ShortId {
        self.proposer
    }

    /// Its one encoding.
    pub fn as_bytes(&self) -> &[u8; PROPOSAL_LEN] {
        &self.bytes
    }
}

fn parse(bytes: [u8; PROPOSAL_LEN]) -> Option<Proposal> {
    let mut reader = Reader::new(&bytes);
    reader.u8()?;
    Some(Proposal {
        header: Header::from_bytes(&reader.array()?)?,
        view: reader.u8()?,
        proposer: ShortId(reader.array()?),
        bytes,
    })
}
