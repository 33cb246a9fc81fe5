//! The beat: a node's fresh mix key for one epoch, 136 B, signed by its identity key. And the leaf it becomes.
//!
//! Holds [`Beat`] and [`Leaf`]. A beat names its signer only by short id; whoever checks it brings the id from the descriptor.
//! That there is one beat per node and epoch, ever, is kept by `pki`. SPEC.md §5.

use crate::{
    counters::DropReason,
    descriptor::{Capability, Descriptor, VERSION, signed_message, verify_strict},
    id::{NodeId, derive, short_id},
    weights::Standing,
    wire::Reader,
};
use core::fmt;
use ed25519_dalek::{Signer, SigningKey};
use mix::{MixPublic, NetworkId, ShortId};

/// Bytes of a beat.
pub const BEAT_LEN: usize = 136;
/// Bytes of a leaf.
pub const LEAF_LEN: usize = 82;

const BODY_LEN: usize = 72;
const SIGN_CONTEXT: &[u8] = b"murmuration/v1/beat";

/// What a beat says, apart from who says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BeatFields {
    /// The epoch its key serves.
    pub epoch: u32,
    /// Fresh Ristretto255 key.
    pub mix_key: [u8; 32],
    /// What the node does this epoch; can only lower what its descriptor declares.
    pub capability: Capability,
    /// How busy the node was, 0 to 255; carried.
    pub load: u8,
    /// Commitment to the replay tags of epoch e−2, whose key is gone; carried.
    pub replay_root: [u8; 16],
}

/// A beat in its one encoding. Holding one does not mean that its signature was checked: see [`verify`](Self::verify). Its mix
/// key is known to be a usable point.
#[derive(Clone)]
pub struct Beat {
    short: ShortId,
    fields: BeatFields,
    key: MixPublic,
    bytes: [u8; BEAT_LEN],
}

impl Beat {
    /// Signs a beat with the identity key.
    ///
    /// # Errors
    /// [`DropReason::Key`] if the mix key is not a usable point.
    pub fn sign(
        network: &NetworkId,
        key: &SigningKey,
        fields: BeatFields,
    ) -> Result<Self, DropReason> {
        let short = short_id(network, &NodeId(key.verifying_key().to_bytes()));
        let mix_key = MixPublic::from_bytes(&fields.mix_key).ok_or(DropReason::Key)?;
        let mut bytes = [0; BEAT_LEN];
        bytes[0] = VERSION;
        bytes[1..5].copy_from_slice(&fields.epoch.to_le_bytes());
        bytes[5..21].copy_from_slice(&short.0);
        bytes[21..53].copy_from_slice(&fields.mix_key);
        bytes[53] = fields.capability.to_byte();
        bytes[54] = fields.load;
        bytes[56..72].copy_from_slice(&fields.replay_root);
        let signature = key.sign(&signed_message(SIGN_CONTEXT, network, &bytes[..BODY_LEN]));
        bytes[BODY_LEN..].copy_from_slice(&signature.to_bytes());
        Ok(Self {
            short,
            fields,
            key: mix_key,
            bytes,
        })
    }

    /// Reads a beat, without checking its signature.
    ///
    /// # Errors
    /// [`DropReason::Version`], [`DropReason::Malformed`] or [`DropReason::Key`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DropReason> {
        let bytes: [u8; BEAT_LEN] = bytes.try_into().map_err(|_| DropReason::Malformed)?;
        if bytes[0] != VERSION {
            return Err(DropReason::Version);
        }
        let (short, fields) = parse(&bytes).ok_or(DropReason::Malformed)?;
        let key = MixPublic::from_bytes(&fields.mix_key).ok_or(DropReason::Key)?;
        Ok(Self {
            short,
            fields,
            key,
            bytes,
        })
    }

    /// The epoch and the short id of encoded bytes, cheaply: no point is decompressed. For recognising what is known already.
    pub(crate) fn peek(bytes: &[u8]) -> Option<(u32, ShortId)> {
        let mut reader = Reader::new(bytes);
        (bytes.len() == BEAT_LEN && reader.u8()? == VERSION).then_some(())?;
        Some((reader.u32()?, ShortId(reader.array()?)))
    }

    /// Checks the signature strictly, and that the short id derives from the signer's id.
    ///
    /// # Errors
    /// [`DropReason::Signature`].
    pub fn verify(&self, network: &NetworkId, signer: &NodeId) -> Result<(), DropReason> {
        if short_id(network, signer) != self.short {
            return Err(DropReason::Signature);
        }
        verify_strict(
            SIGN_CONTEXT,
            network,
            signer,
            self.body(),
            &self.bytes[BODY_LEN..],
        )
    }

    /// Who sent it.
    pub fn short_id(&self) -> ShortId {
        self.short
    }

    /// The epoch its key serves.
    pub fn epoch(&self) -> u32 {
        self.fields.epoch
    }

    /// What it says.
    pub fn fields(&self) -> &BeatFields {
        &self.fields
    }

    /// Its mix key, parsed.
    pub fn mix_key(&self) -> &MixPublic {
        &self.key
    }

    /// Its one encoding.
    pub fn as_bytes(&self) -> &[u8; BEAT_LEN] {
        &self.bytes
    }

    /// `derive("beat-hash", signed part)`: what a receipt names.
    pub fn hash(&self) -> [u8; 32] {
        derive("murmuration/v1/beat-hash", &[self.body()])
    }

    /// The signed part. Two beats of one id and epoch equivocate iff these differ.
    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[..BODY_LEN]
    }

    /// The signed part of encoded bytes.
    pub(crate) fn body_of(bytes: &[u8; BEAT_LEN]) -> &[u8] {
        &bytes[..BODY_LEN]
    }

    /// Whether encoded bytes say the same as this beat, whatever their signature.
    pub(crate) fn says(&self, bytes: &[u8]) -> bool {
        bytes.get(..BODY_LEN) == Some(self.body())
    }
}

impl PartialEq for Beat {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Beat {}

impl fmt::Debug for Beat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beat")
            .field("short", &self.short)
            .field("epoch", &self.fields.epoch)
            .finish_non_exhaustive()
    }
}

fn parse(bytes: &[u8]) -> Option<(ShortId, BeatFields)> {
    let mut reader = Reader::new(bytes);
    reader.u8()?;
    let epoch = reader.u32()?;
    let short = ShortId(reader.array()?);
    let mix_key = reader.array()?;
    let capability = Capability::from_byte(reader.u8()?)?;
    let load = reader.u8()?;
    if reader.u8()? != 0 {
        return None;
    }
    let replay_root = reader.array()?;
    Some((
        short,
        BeatFields {
            epoch,
            mix_key,
            capability,
            load,
            replay_root,
        },
    ))
}

/// What the directory commits to about one node, 82 B.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// Short id.
    pub short: ShortId,
    /// Mix key of the epoch.
    pub mix_key: [u8; 32],
    /// Effective weight, holding and age: bytes 48 and 49.
    pub standing: Standing,
    /// [`Descriptor::hash`].
    pub descriptor_hash: [u8; 32],
}

impl Leaf {
    /// The leaf of a descriptor and a beat of one node, and what the epoch grants it.
    pub fn of(descriptor: &Descriptor, beat: &Beat, standing: Standing) -> Self {
        Self {
            short: beat.short,
            mix_key: beat.fields.mix_key,
            standing,
            descriptor_hash: descriptor.hash(),
        }
    }

    /// The 82 wire bytes.
    pub fn to_bytes(&self) -> [u8; LEAF_LEN] {
        let mut out = [0; LEAF_LEN];
        out[..16].copy_from_slice(&self.short.0);
        out[16..48].copy_from_slice(&self.mix_key);
        out[48..50].copy_from_slice(&self.standing.to_bytes());
        out[50..].copy_from_slice(&self.descriptor_hash);
        out
    }

    /// Reads the 82 wire bytes; `None` unless canonical. The mix key is not checked to be a point.
    pub fn from_bytes(bytes: &[u8; LEAF_LEN]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let short = ShortId(reader.array()?);
        let mix_key = reader.array()?;
        Some(Self {
            short,
            mix_key,
            standing: Standing::from_bytes(reader.array()?)?,
            descriptor_hash: reader.array()?,
        })
    }
}

#[cfg(test)]
mod tests;
