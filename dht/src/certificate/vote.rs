//! The vote: a witness signs the root of an epoch, once, and reveals its VRF output. SPEC.md §17.

use crate::{
    committee::{Candidate, Presence},
    counters::DropReason,
    descriptor::{SIGNATURE_LEN, signed_message, verify_strict},
    id::{NodeId, short_id},
    vrf::{self, Output, Proof, VrfPublic, VrfSecret},
    wire::Reader,
};
use ed25519_dalek::{Signer, SigningKey};
use mix::{NetworkId, ShortId};

/// Bytes of a vote.
pub const VOTE_LEN: usize = BODY_LEN + 16 + vrf::PROOF_LEN + SIGNATURE_LEN;

pub(crate) const VOTE_CONTEXT: &[u8] = b"murmuration/v1/vote";
/// The part that is signed: the same bytes for every witness who agrees.
pub(crate) const BODY_LEN: usize = 1 + 4 + 32 + Presence::LEN;

const VERSION: u8 = 1;

/// One witness's word for one root: 218 B. A second one of the same epoch that says anything else is a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vote {
    epoch: u32,
    root: [u8; 32],
    presence: Presence,
    witness: ShortId,
    proof: Proof,
    signature: [u8; SIGNATURE_LEN],
    bytes: [u8; VOTE_LEN],
}

/// What a witness signs: version 1 ‖ epoch 4 ‖ root 32 ‖ committee 21.
pub(crate) fn vote_body(epoch: u32, root: &[u8; 32], presence: Presence) -> [u8; BODY_LEN] {
    let mut out = [0; BODY_LEN];
    out[0] = VERSION;
    out[1..5].copy_from_slice(&epoch.to_le_bytes());
    out[5..37].copy_from_slice(root);
    out[37..].copy_from_slice(&presence.to_bytes());
    out
}

impl Vote {
    /// Signs a vote. Make one per epoch, ever, and keep it before it is sent. `seed` is that of the epoch.
    pub fn sign(
        network: &NetworkId,
        key: &SigningKey,
        vrf: &VrfSecret,
        seed: &[u8; 32],
        (epoch, root, presence): (u32, [u8; 32], Presence),
    ) -> Self {
        let witness = short_id(network, &NodeId(key.verifying_key().to_bytes()));
        let body = vote_body(epoch, &root, presence);
        let proof = vrf.prove(&vrf::input(network, seed, epoch));
        let signature = key.sign(&signed_message(VOTE_CONTEXT, network, &body));
        let signature = signature.to_bytes();
        let mut bytes = [0; VOTE_LEN];
        bytes[..BODY_LEN].copy_from_slice(&body);
        bytes[BODY_LEN..BODY_LEN + 16].copy_from_slice(&witness.0);
        bytes[BODY_LEN + 16..VOTE_LEN - SIGNATURE_LEN].copy_from_slice(proof.as_bytes());
        bytes[VOTE_LEN - SIGNATURE_LEN..].copy_from_slice(&signature);
        Self {
            epoch,
            root,
            presence,
            witness,
            proof,
            signature,
            bytes,
        }
    }

    /// Reads a vote, without checking whose it is.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] or [`DropReason::Version`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DropReason> {
        let bytes: [u8; VOTE_LEN] = bytes.try_into().map_err(|_| DropReason::Malformed)?;
        if bytes[0] != VERSION {
            return Err(DropReason::Version);
        }
        parse(bytes).ok_or(DropReason::Malformed)
    }

    /// Checks signature and VRF proof against the candidate it names, and gives the output. `seed` is that of the epoch.
    ///
    /// # Errors
    /// [`DropReason::Signature`].
    pub fn verify(
        &self,
        network: &NetworkId,
        seed: &[u8; 32],
        candidate: &Candidate,
    ) -> Result<Output, DropReason> {
        if candidate.short != self.witness {
            return Err(DropReason::Signature);
        }
        let body = &self.bytes[..BODY_LEN];
        verify_strict(
            VOTE_CONTEXT,
            network,
            &candidate.node,
            body,
            &self.signature,
        )?;
        let key = VrfPublic::from_bytes(&candidate.vrf_key).ok_or(DropReason::Signature)?;
        let input = vrf::input(network, seed, self.epoch);
        self.proof.verify(&key, &input).ok_or(DropReason::Signature)
    }

    /// The epoch.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The root it is for.
    pub fn root(&self) -> [u8; 32] {
        self.root
    }

    /// The committee that its witness saw.
    pub fn presence(&self) -> Presence {
        self.presence
    }

    /// Who says to have cast it.
    pub fn witness(&self) -> ShortId {
        self.witness
    }

    /// The witness's output of this epoch, with its proof.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Its signature.
    pub fn signature(&self) -> &[u8; SIGNATURE_LEN] {
        &self.signature
    }

    /// Its one encoding.
    pub fn as_bytes(&self) -> &[u8; VOTE_LEN] {
        &self.bytes
    }
}

fn parse(bytes: [u8; VOTE_LEN]) -> Option<Vote> {
    let mut reader = Reader::new(&bytes);
    reader.u8()?;
    Some(Vote {
        epoch: reader.u32()?,
        root: reader.array()?,
        presence: Presence::from_bytes(reader.array()?),
        witness: ShortId(reader.array()?),
        proof: Proof::from_bytes(reader.array()?),
        signature: reader.array()?,
        bytes,
    })
}
