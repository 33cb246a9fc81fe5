//! The receipt: a witness says that it held a node's beat at a time. It answers for it with its vote. SPEC.md §19.

use crate::{
    beat::Beat,
    counters::DropReason,
    descriptor::{SIGNATURE_LEN, signed_message, verify_strict},
    epoch,
    id::{NodeId, short_id},
    network::NetworkParams,
    wire::Reader,
};
use ed25519_dalek::{Signer, SigningKey};
use mix::{NetworkId, ShortId, time::Moment};

/// Bytes of a receipt.
pub const RECEIPT_LEN: usize = BODY_LEN + SIGNATURE_LEN;

const BODY_LEN: usize = 1 + 16 + 4 + 16 + 32 + 8;
const VERSION: u8 = 1;
const CONTEXT: &[u8] = b"murmuration/v1/receipt";

/// "I hold this beat, and a descriptor that covers its epoch", 141 B. Only a beat in [`good`](Self::good) time obliges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// Who says so.
    pub witness: ShortId,
    /// The beat's epoch.
    pub epoch: u32,
    /// The beat's signer.
    pub owner: ShortId,
    /// [`Beat::hash`].
    pub beat: [u8; 32],
    /// When, Unix ms.
    pub held_at: u64,
    pub(crate) signature: [u8; SIGNATURE_LEN],
}

impl Receipt {
    /// Signs a receipt. Give one only for a beat that will be insisted upon.
    pub fn sign(network: &NetworkId, key: &SigningKey, beat: &Beat, now: Moment) -> Self {
        let mut receipt = Self {
            witness: short_id(network, &NodeId(key.verifying_key().to_bytes())),
            epoch: beat.epoch(),
            owner: beat.short_id(),
            beat: beat.hash(),
            held_at: now.as_millis(),
            signature: [0; SIGNATURE_LEN],
        };
        let message = signed_message(CONTEXT, network, &receipt.body());
        receipt.signature = key.sign(&message).to_bytes();
        receipt
    }

    /// Checks that this witness signed it.
    ///
    /// # Errors
    /// [`DropReason::Signature`].
    pub fn verify(&self, network: &NetworkId, witness: &NodeId) -> Result<(), DropReason> {
        if short_id(network, witness) != self.witness {
            return Err(DropReason::Signature);
        }
        verify_strict(CONTEXT, network, witness, &self.body(), &self.signature)
    }

    /// Whether the beat was held in time to be missed: a guard before the cut-off.
    pub fn good(&self, params: &NetworkParams) -> bool {
        self.held_at <= epoch::guard(params, self.epoch).as_millis()
    }

    /// The wire bytes: version 1 ‖ witness 16 ‖ epoch 4 ‖ owner 16 ‖ beat hash 32 ‖ held at 8 ‖ signature 64.
    pub fn to_bytes(&self) -> [u8; RECEIPT_LEN] {
        let mut out = [0; RECEIPT_LEN];
        out[..BODY_LEN].copy_from_slice(&self.body());
        out[BODY_LEN..].copy_from_slice(&self.signature);
        out
    }

    /// Reads the wire bytes.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] or [`DropReason::Version`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DropReason> {
        let bytes: &[u8; RECEIPT_LEN] = bytes.try_into().map_err(|_| DropReason::Malformed)?;
        if bytes[0] != VERSION {
            return Err(DropReason::Version);
        }
        Self::parse(bytes).ok_or(DropReason::Malformed)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        reader.u8()?;
        Some(Self {
            witness: ShortId(reader.array()?),
            epoch: reader.u32()?,
            owner: ShortId(reader.array()?),
            beat: reader.array()?,
            held_at: reader.u64()?,
            signature: reader.array()?,
        })
    }

    fn body(&self) -> [u8; BODY_LEN] {
        let mut out = [0; BODY_LEN];
        out[0] = VERSION;
        out[1..17].copy_from_slice(&self.witness.0);
        out[17..21].copy_from_slice(&self.epoch.to_le_bytes());
        out[21..37].copy_from_slice(&self.owner.0);
        out[37..69].copy_from_slice(&self.beat);
        out[69..].copy_from_slice(&self.held_at.to_le_bytes());
        out
    }
}
